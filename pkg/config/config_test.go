package config

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caarlos0/env/v11"
	"github.com/kelseyhightower/envconfig"

	"github.com/proofsync/proofsync/pkg/operation"
)

var update = flag.Bool("update", false, "rewrite docs/CONFIG.md")

// clean removes our variables from the environment for the duration of a test.
func clean(t *testing.T) {
	t.Helper()
	for _, kv := range os.Environ() {
		if name, _, _ := strings.Cut(kv, "="); strings.HasPrefix(name, Prefix+"_") {
			t.Setenv(name, "")
			os.Unsetenv(name)
		}
	}
}

func TestDefaultsAreThoseOfTheReference(t *testing.T) {
	clean(t)
	s, err := ParseServer(nil)
	if err != nil {
		t.Fatal(err)
	}
	if s.Port != 8080 || s.MetricsPort != 9090 || s.InitialOps != 100 || s.OpInterval.D() != 100*time.Millisecond || s.OpsPerInterval != 5 ||
		s.MaxOpsPerResponse != 10000 || s.Host != "127.0.0.1" || s.StorageDir != "" || s.ShutdownTimeout.D() != 10*time.Second ||
		s.Codec() != operation.NewCodec(operation.Any, operation.Fixed) {
		t.Errorf("server defaults: %+v", s)
	}
	if _, set := s.Seed.Get(); set {
		t.Error("a seed is set by default")
	}
	c, err := ParseClient(nil)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(c.Servers, []string{"127.0.0.1:8080"}) || c.BatchSize != 50 || c.MetricsPort != 9091 || c.TargetInterval.D() != time.Second ||
		c.SyncInterval.D() != 10*time.Second || c.MaxOutstanding != 0 || bool(c.Once) || c.Deadline != 0 || c.RequestTimeout.D() != 5*time.Second ||
		c.OnFork != "halt" || c.ReadyPolicy != ReadyServing {
		t.Errorf("client defaults: %+v", c)
	}
}

func TestFlagsOverrideVariablesAndVariablesDefaults(t *testing.T) {
	clean(t)
	t.Setenv("PROOFSYNC_PORT", "1111")
	t.Setenv("PROOFSYNC_OP_INTERVAL", "2m")
	t.Setenv("PROOFSYNC_METRICS_PORT", "")
	t.Setenv("PROOFSYNC_SERVER", "a:1,b:2") // the client's: no error here
	s, err := ParseServer([]string{"-p", "2222", "--db=immutable", "--encoding", "variable", "--import", "x,y", "--import=-", "--seed", "7", "--floor-policy", "retain:10"})
	if err != nil {
		t.Fatal(err)
	}
	if s.Port != 2222 || s.OpInterval.D() != 2*time.Minute || s.MetricsPort != 9090 {
		t.Errorf("got %+v", s)
	}
	if s.Codec() != operation.NewCodec(operation.Immutable, operation.Variable) {
		t.Errorf("codec %v", s.Codec())
	}
	if !slices.Equal(s.Import, []string{"x,y", "-"}) {
		t.Errorf("import %q", s.Import)
	}
	if n, ok := s.Seed.Get(); !ok || n != 7 {
		t.Errorf("seed %d %v", n, ok)
	}
	c, err := ParseClient([]string{"-s", "db.example:80,10.0.0.1:81", "--server", "[::1]:82", "--once", "--deadline", "5s"})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(c.Servers, []string{"db.example:80", "10.0.0.1:81", "[::1]:82"}) || !bool(c.Once) {
		t.Errorf("got %+v", c)
	}
	if c, err = ParseClient(nil); err != nil || !slices.Equal(c.Servers, []string{"a:1", "b:2"}) {
		t.Errorf("servers %v, %v", c, err)
	}
}

// aKey is a public key.
const aKey = "proofsync.example+38a7f685+AcR2Dl7ZN51JDc6PwndLBAxFIIZiMXnhcZNYVkJEjo6/"

func TestUsageErrorsNameSettingValueAndWhatIsAccepted(t *testing.T) {
	clean(t)
	server := func(a []string) error { _, err := ParseServer(a); return err }
	client := func(a []string) error { _, err := ParseClient(a); return err }
	for _, c := range []struct {
		name  string
		parse func([]string) error
		env   string
		args  string
		want  string
	}{
		{"unknown family", server, "", "--db keyless", `--db "keyless": want any|immutable`},
		{"unknown family in a variable", client, "PROOFSYNC_DB=foo", "", `PROOFSYNC_DB "foo": want any|immutable`},
		{"unknown encoding", client, "", "--encoding utf8", `--encoding "utf8": want fixed|variable`},
		{"unknown flag", server, "", "--prot 1", `unknown flag: --prot: see --help`},
		{"unknown short flag", server, "", "-x", `unknown shorthand flag: 'x' in -x: see --help`},
		{"missing value", server, "", "--port", `flag needs an argument: --port: see --help`},
		{"argument", client, "", "serve", `argument "serve": no arguments are taken, only flags; see --help`},
		{"unknown variable", server, "PROOFSYNC_PROT=1", "", `PROOFSYNC_PROT: unknown variable, did you mean PROOFSYNC_PORT?`},
		{"very unknown variable", client, "PROOFSYNC_SERVICE_HOST=1", "", `PROOFSYNC_SERVICE_HOST: unknown variable; server --help and client --help list the known ones`},
		{"port too large", server, "", "-p 65536", `--port "65536": want a port from 0 to 65535`},
		{"negative port", server, "", "-m -1", `--metrics-port "-1": want a port from 0 to 65535`},
		{"port in a variable", server, "PROOFSYNC_PORT=0x50", "", `PROOFSYNC_PORT "0x50": want a port from 0 to 65535`},
		{"zero batch size", client, "", "-b 0", `--batch-size (PROOFSYNC_BATCH_SIZE) "0": want a whole number, from 1 to 10000`},
		{"batch size above the format's", client, "PROOFSYNC_BATCH_SIZE=10001", "", `--batch-size (PROOFSYNC_BATCH_SIZE) "10001": want a whole number, from 1 to 10000`},
		{"duration without unit", server, "", "-t 100", `--op-interval "100": want a duration in ms, s, m or h such as 100ms or 1m30s`},
		{"negative duration", client, "", "-i -1s", `--sync-interval "-1s": want a duration in ms, s, m or h such as 100ms or 1m30s, at least 1ms`},
		{"zero sync interval", client, "", "-i 0", `--sync-interval (PROOFSYNC_SYNC_INTERVAL) "0s": want a duration in ms, s, m or h such as 100ms or 1m30s, at least 1ms`},
		{"server without port", client, "", "-s example.org", `--server "example.org": want host:port, a port from 1 to 65535, separated by commas`},
		{"server with port 0", client, "", "-s example.org:0", `--server "example.org:0": want host:port, a port from 1 to 65535, separated by commas`},
		{"one broken server of two", client, "", "-s a:1,:2", `--server "a:1,:2": want host:port, a port from 1 to 65535, separated by commas`},
		{"empty server", client, "", "--server=", `--server: want host:port, a port from 1 to 65535, separated by commas`},
		{"host", server, "", "--host a/b", `--host "a/b": want a host name or IP address`},
		{"log format", server, "", "--log-format xml", `--log-format "xml": want text|json`},
		{"log level", server, "", "--log-level loud", `--log-level "loud": want debug|info|warn|error`},
		{"fork policy", client, "", "--on-fork panic", `--on-fork "panic": want halt|rebuild`},
		{"floor policy", server, "", "--floor-policy retain:x", `--floor-policy "retain:x": want keep|retain:N, N at least 1`},
		{"ready policy", client, "", "--ready-policy never", `--ready-policy "never": want serving|max-lag`},
		{"seed", server, "", "--seed abc", `--seed "abc": want random or a number from 0 to 18446744073709551615`},
		{"size", client, "", "--max-inflight-bytes 1MB", `--max-inflight-bytes "1MB": want bytes such as 1048576, 64KiB, 32MiB or 1GiB, from 64KiB to 1TiB`},
		{"size that overflows", client, "", "--max-inflight-bytes 9007199254740993TiB", `--max-inflight-bytes "9007199254740993TiB": want bytes such as 1048576, 64KiB, 32MiB or 1GiB, from 64KiB to 1TiB`},
		{"certificate without key", server, "", "--tls-cert-file c.pem", `--tls-cert-file (PROOFSYNC_TLS_CERT_FILE) "c.pem": needs --tls-key-file`},
		{"key without certificate", client, "", "--tls-key-file k.pem", `--tls-key-file (PROOFSYNC_TLS_KEY_FILE) "k.pem": needs --tls-cert-file`},
		{"client auth without CA", server, "", "--tls-cert-file c --tls-key-file k --tls-client-auth require", `--tls-client-auth (PROOFSYNC_TLS_CLIENT_AUTH) "require": needs --tls-ca-file, which the certificates of clients are verified with`},
		{"client auth without certificate", client, "", "--tls-ca-file c --tls-client-auth request", `--tls-client-auth (PROOFSYNC_TLS_CLIENT_AUTH) "request": needs --tls-cert-file and --tls-key-file`},
		{"allow list for those without certificate", server, "", "--tls-cert-file c --tls-key-file k --tls-ca-file a --tls-client-auth request --tls-allow db.example", `--tls-allow (PROOFSYNC_TLS_ALLOW) "db.example": needs --tls-client-auth require: whoever has no certificate would be let in`},
		{"allow list without CA", client, "", "--tls-allow db.example", `--tls-allow (PROOFSYNC_TLS_ALLOW) "db.example": needs --tls-ca-file`},
		{"name without CA", client, "", "--tls-server-name db.example", `--tls-server-name (PROOFSYNC_TLS_SERVER_NAME) "db.example": needs --tls-ca-file`},
		{"allow list of nothing", client, "", "--tls-ca-file a --tls-allow spiffe://a/../b", `--tls-allow "spiffe://a/../b": want SPIFFE IDs (spiffe://domain/path, or spiffe://domain/* for all below) and DNS names (*.domain for one label more), separated by commas`},
		{"deadline without once", client, "", "--deadline 1s", `--deadline (PROOFSYNC_DEADLINE) "1s": needs --once`},
		{"private key", client, "", "--trusted-key PRIVATE+KEY+writer+38a7f685+AcR2Dl7ZN51JDc6PwndLBAxFIIZiMXnhcZNYVkJEjo6/", `--trusted-key (a private key, not shown): want NAME+HASH+BASE64 of public Ed25519 keys (not PRIVATE+KEY+...), separated by commas`},
		{"key with a bad hash", client, "", "--trusted-key writer+00000000+AcR2", `--trusted-key "writer+00000000+AcR2": want NAME+HASH+BASE64 of public Ed25519 keys (not PRIVATE+KEY+...), separated by commas`},
		{"quorum of none", client, "", "--quorum 0", `--quorum (PROOFSYNC_QUORUM) "0": want a whole number, from 1 to 100`},
		{"target source", client, "", "--target-source me", `--target-source "me": want server|checkpoint`},
		{"checkpoint by another protocol", client, "", "--checkpoint ftp://a/b", `--checkpoint "ftp://a/b": want http(s)://host[:port]/path, or the path of a file`},
		{"target of half a root", client, "", "--target ab:1:2", `--target "ab:1:2": want ROOT:START:END, a root of 64 hexadecimal digits and the range of locations under it`},
		{"key on a server's word", client, "", "--trusted-key " + aKey, `--trusted-key (PROOFSYNC_TRUSTED_KEY) "` + aKey + `": needs --target-source checkpoint: without it the servers' word is taken`},
		{"checkpoint on a server's word", client, "", "--checkpoint /n", `--checkpoint (PROOFSYNC_CHECKPOINT) "/n": needs --target-source checkpoint: without it the servers' word is taken`},
		{"checkpoint from nowhere", client, "", "--target-source checkpoint", `--checkpoint (PROOFSYNC_CHECKPOINT): needed with --target-source checkpoint: where the checkpoint is, such as http://server:8081/v1/checkpoint`},
		{"checkpoint of no log", client, "", "--target-source checkpoint --checkpoint /n", `--checkpoint-origin (PROOFSYNC_CHECKPOINT_ORIGIN): needed with --target-source checkpoint: the log's name, as the server has it in its --checkpoint-origin`},
		{"checkpoint of anybody", client, "", "--target-source checkpoint --checkpoint /n --checkpoint-origin o", `--trusted-key (PROOFSYNC_TRUSTED_KEY): needed with --target-source checkpoint: the public key that proofsync keys checkpoint has printed`},
		{"quorum of one key twice", client, "", "--target-source checkpoint --checkpoint /n --checkpoint-origin o --quorum 2 --trusted-key " + aKey + "," + aKey, `--quorum (PROOFSYNC_QUORUM) "2": quorum 2: there are 1 different trusted keys`},
		{"two targets", client, "", "--target-source checkpoint --checkpoint /n --target " + strings.Repeat("0a", 32) + ":1:9", `--target (PROOFSYNC_TARGET) "` + strings.Repeat("0a", 32) + `:1:9": names the one state to follow: leave out --target-source checkpoint`},
		{"answer cap", server, "", "--max-ops-per-response 0", `--max-ops-per-response (PROOFSYNC_MAX_OPS_PER_RESPONSE) "0": want a whole number, from 1 to 10000`},
		{"limit below an answer", server, "", "--limit-bytes-per-client 64KiB", `--limit-bytes-per-client (PROOFSYNC_LIMIT_BYTES_PER_CLIENT) "64KiB": want 0 for no limit, or at least 256KiB`},
		{"empty import", server, "", "--import=", `--import: want paths, none of them empty`},
		{"a key without a log", server, "", "--checkpoint-key-file k", `--checkpoint-origin (PROOFSYNC_CHECKPOINT_ORIGIN): is missing: what is signed has to name the log, such as example.org/orders`},
		{"a log without a key", server, "", "--checkpoint-origin a", `--checkpoint-origin (PROOFSYNC_CHECKPOINT_ORIGIN) "a": needs --checkpoint-key-file or --checkpoint-signer-command`},
		{"a log with a plus", server, "", "--checkpoint-key-file k --checkpoint-origin a+b", `--checkpoint-origin (PROOFSYNC_CHECKPOINT_ORIGIN): origin "a+b": text without spaces, control characters and plus signs expected`},
		{"two signers", server, "", "--checkpoint-key-file k --checkpoint-signer-command c --checkpoint-origin a", `--checkpoint-signer-command (PROOFSYNC_CHECKPOINT_SIGNER_COMMAND) "c": takes the place of --checkpoint-key-file: one of them expected`},
		{"a witness of nothing", server, "", "--checkpoint-witness http://w:1", `--checkpoint-witness (PROOFSYNC_CHECKPOINT_WITNESS) "http://w:1": needs --checkpoint-key-file or --checkpoint-signer-command`},
		{"a witness without a scheme", server, "", "--checkpoint-witness w:1", `--checkpoint-witness "w:1": want http(s)://host[:port], separated by commas`},
		{"a short age", server, "", "--max-target-age 1s", `--max-target-age (PROOFSYNC_MAX_TARGET_AGE) "1s": want a duration in ms, s, m or h such as 100ms or 1m30s, at least 3s`},
		{"switch", client, "PROOFSYNC_ONCE=maybe", "", `PROOFSYNC_ONCE "maybe": want true|false`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if name, val, ok := strings.Cut(c.env, "="); ok {
				t.Setenv(name, val)
			}
			err := c.parse(strings.Fields(c.args))
			if _, ok := errors.AsType[*UsageError](err); !ok {
				t.Fatalf("got %v, want a *UsageError", err)
			}
			if err.Error() != c.want {
				t.Errorf("got  %s\nwant %s", err, c.want)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Error("more than one line")
			}
		})
	}
}

func TestValidBoundaryValuesAreAccepted(t *testing.T) {
	clean(t)
	for _, args := range []string{
		"-p 0 -m 65535 -t 0 -i 0", "--op-interval 500ms", "--op-interval 1h", "--host ::1", "--host [::]", "--host 0.0.0.0", "--seed random",
		"--seed 18446744073709551615", "--max-total-bytes 1048576", "--max-ops-per-response 10000", "--import - --import a,b", "--db any --encoding variable",
	} {
		if _, err := ParseServer(strings.Fields(args)); err != nil {
			t.Errorf("%s: %v", args, err)
		}
	}
	for _, args := range []string{
		"-b 1", "-b 10000", "-r 1", "-s a_b-c.example.:1", "-s fe80::1%eth0:1", "-s [fe80::1%eth0]:1", "--once=false", "--once=true --deadline 0",
	} {
		_, err := ParseClient(strings.Fields(args))
		if bad := strings.HasPrefix(args, "-s fe80"); bad != (err != nil) {
			t.Errorf("%s: %v", args, err)
		}
	}
}

func TestHelpAndVersionAreToldApartFromErrors(t *testing.T) {
	clean(t)
	for args, want := range map[string]error{"-h": ErrHelp, "--help": ErrHelp, "-V": ErrVersion, "--version": ErrVersion, "--help --version": ErrHelp} {
		if _, err := ParseServer(strings.Fields(args)); !errors.Is(err, want) {
			t.Errorf("%s: %v", args, err)
		}
	}
}

// The struct is read by two libraries: both must see the same names and defaults
// and get the same values out of the same text.
func TestBothEnvironmentReadersReadTheStructsAlike(t *testing.T) {
	clean(t)
	samples := map[reflect.Type]string{
		reflect.TypeFor[*Family](): "immutable", reflect.TypeFor[*Encoding](): "variable", reflect.TypeFor[*Path](): "/x", reflect.TypeFor[*Paths](): "a,b",
		reflect.TypeFor[*Host](): "example.org", reflect.TypeFor[*Addresses](): "a:1,b:2", reflect.TypeFor[*Port](): "0012", reflect.TypeFor[*Count](): "10000",
		reflect.TypeFor[*Size](): "3MiB", reflect.TypeFor[*Duration](): "90s", reflect.TypeFor[*Bool](): "T", reflect.TypeFor[*Seed](): "12",
		reflect.TypeFor[*LogFormat](): "json", reflect.TypeFor[*LogLevel](): "warn", reflect.TypeFor[*OnFork](): "rebuild",
		reflect.TypeFor[*OnCorruption](): "halt", reflect.TypeFor[*FreeBytes](): "5MiB",
		reflect.TypeFor[*ReadyPolicy](): "max-lag", reflect.TypeFor[*FloorPolicy](): "retain:9", reflect.TypeFor[*Retain](): "30d",
		reflect.TypeFor[*Text](): "x", reflect.TypeFor[*URLs](): "http://a:1,https://b",
		reflect.TypeFor[*TargetSource](): "checkpoint", reflect.TypeFor[*Places](): "http://a/x,/b", reflect.TypeFor[*StaticTarget](): strings.Repeat("0a", 32) + ":1:9",
		reflect.TypeFor[*Keys]():         "proofsync.example+38a7f685+AcR2Dl7ZN51JDc6PwndLBAxFIIZiMXnhcZNYVkJEjo6/",
		reflect.TypeFor[*OptionalPort](): "off", reflect.TypeFor[*Origins](): "https://a.example,*",
		reflect.TypeFor[*ClientAuth](): "request", reflect.TypeFor[*Identities](): "spiffe://a/*,*.b.example", reflect.TypeFor[*OptionalHost](): "db.example",
	}
	for _, zero := range []any{new(Server), new(Client)} {
		typ := reflect.TypeOf(zero).Elem()
		fresh := func() any { return reflect.New(typ).Interface() }
		same := func(what string) {
			t.Helper()
			a, b := fresh(), fresh()
			if err := env.ParseWithOptions(a, envOptions()); err != nil {
				t.Fatal(err)
			}
			if err := envconfig.Process(Prefix, b); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(a, b) {
				t.Errorf("%v, %s:\nenv       %+v\nenvconfig %+v", typ, what, a, b)
			}
		}
		same("defaults")

		params, err := env.GetFieldParamsWithOptions(fresh(), envOptions())
		if err != nil {
			t.Fatal(err)
		}
		var theirs, ours, flags []string
		for _, p := range params {
			theirs = append(theirs, p.Key+"="+p.DefaultValue)
		}
		for _, f := range fields(fresh()) {
			ours = append(ours, f.env+"="+f.def)
			flags = append(flags, f.flag)
			if f.short != "" {
				flags = append(flags, f.short)
			}
			if strings.ToUpper(strings.ReplaceAll(f.flag, "-", "_")) != strings.TrimPrefix(f.env, Prefix+"_") {
				t.Errorf("%v: flag %s and variable %s differ", typ, f.flag, f.env)
			}
		}
		var shown bytes.Buffer
		if err := envconfig.Usagef(Prefix, fresh(), &shown, "{{range .}}{{usage_key .}}={{usage_default .}}\n{{end}}"); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(theirs, ours) || !slices.Equal(ours, strings.Fields(shown.String())) {
			t.Errorf("%v:\nenv       %v\nenvconfig %v\nfields    %v", typ, theirs, strings.Fields(shown.String()), ours)
		}
		slices.Sort(flags)
		if n := len(flags); len(slices.Compact(flags)) != n {
			t.Errorf("%v: a flag is declared twice: %v", typ, flags)
		}

		for _, f := range fields(fresh()) {
			text, ok := samples[reflect.TypeOf(f.value)]
			if !ok {
				t.Fatalf("no sample for %T", f.value)
			}
			t.Setenv(f.env, text)
			same(f.env + "=" + text)
			os.Unsetenv(f.env)
		}
	}
}

func TestDefaultsAreWithinTheirOwnBounds(t *testing.T) {
	clean(t)
	if _, err := ParseServer(nil); err != nil {
		t.Error(err)
	}
	for _, cfg := range []any{new(Server), new(Client)} {
		for _, f := range fields(cfg) {
			for _, b := range []string{f.min, f.max} {
				if b != "" {
					f.bound(b) // panics when it cannot be read
				}
			}
		}
	}
}

func TestHelpShowsEverySettingWithVariableDefaultAndExamples(t *testing.T) {
	for _, cfg := range []any{new(Server), new(Client)} {
		var b bytes.Buffer
		if err := Usage(&b, cfg); err != nil {
			t.Fatal(err)
		}
		for _, f := range fields(cfg) {
			for _, want := range []string{"--" + f.flag + " ", f.env} {
				if !strings.Contains(b.String(), want) {
					t.Errorf("%T: help lacks %q", cfg, want)
				}
			}
		}
		for _, want := range []string{"Usage: " + programOf(cfg).name, "--help", "--version", "Examples:", "default 127.0.0.1"} {
			if !strings.Contains(b.String(), want) {
				t.Errorf("%T: help lacks %q", cfg, want)
			}
		}
	}
}

func TestConfigurationPageIsCurrent(t *testing.T) {
	path := filepath.Join("..", "..", "docs", "CONFIG.md")
	var want bytes.Buffer
	if err := Markdown(&want); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(path, want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want.Bytes()) {
		t.Errorf("%s is stale: run go test ./pkg/config -update", path)
	}
}
