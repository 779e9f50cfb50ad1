package config

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/proofsync/proofsync/pkg/checkpoint"
	"github.com/proofsync/proofsync/pkg/wire"
)

// Trust says whose word a client takes for what is the newest state of the log.
type Trust struct {
	TargetSource TargetSource `env:"TARGET_SOURCE" envconfig:"TARGET_SOURCE" default:"server" flag:"target-source" desc:"who names the newest state of the log: server takes each server's word for it, checkpoint wants it signed by trusted keys"`
	Checkpoints  Places       `env:"CHECKPOINT" envconfig:"CHECKPOINT" default:"" flag:"checkpoint" desc:"URL or file of the signed checkpoint, such as http://server:8081/v1/checkpoint; repeat the flag or separate by commas: signatures of several places count together, and the newest valid one is followed"`
	Origin       Text         `env:"CHECKPOINT_ORIGIN" envconfig:"CHECKPOINT_ORIGIN" default:"" flag:"checkpoint-origin" desc:"name of the log in its checkpoints, such as example.org/orders"`
	TrustedKeys  Keys         `env:"TRUSTED_KEY" envconfig:"TRUSTED_KEY" default:"" flag:"trusted-key" desc:"public key whose signature under a checkpoint counts, NAME+HASH+BASE64; repeat the flag or separate by commas"`
	Quorum       Count        `env:"QUORUM" envconfig:"QUORUM" default:"1" flag:"quorum" min:"1" max:"100" desc:"how many different trusted keys have to have signed"`
	MaxTargetAge Duration     `env:"MAX_TARGET_AGE" envconfig:"MAX_TARGET_AGE" default:"1h" flag:"max-target-age" min:"1s" desc:"how old a checkpoint may be: servers sign anew every third of it, clients follow no older one and go on serving what they have"`
	StaticTarget StaticTarget `env:"TARGET" envconfig:"TARGET" default:"" flag:"target" desc:"the one state to follow, ROOT:START:END, instead of any that a server or checkpoint names"`
}

// validate checks that the settings fit together; cfg is the struct they are in.
func (t *Trust) validate(cfg any) error {
	refuse := func(flag, value, reason string, args ...any) error {
		return &UsageError{Name: nameOf(cfg, flag), Value: value, Reason: fmt.Sprintf(reason, args...)}
	}
	if t.TargetSource != TargetCheckpoint {
		switch {
		case len(t.Checkpoints) > 0:
			return refuse("checkpoint", t.Checkpoints.String(), "needs --target-source checkpoint: without it the servers' word is taken")
		case len(t.TrustedKeys) > 0:
			return refuse("trusted-key", t.TrustedKeys.String(), "needs --target-source checkpoint: without it the servers' word is taken")
		}
		return nil
	}
	switch {
	case t.StaticTarget.Target != (wire.Target{}):
		return refuse("target", t.StaticTarget.String(), "names the one state to follow: leave out --target-source checkpoint")
	case len(t.Checkpoints) == 0:
		return refuse("checkpoint", "", "needed with --target-source checkpoint: where the checkpoint is, such as http://server:8081/v1/checkpoint")
	case t.Origin == "":
		return refuse("checkpoint-origin", "", "needed with --target-source checkpoint: the log's name, as the server has it in its --checkpoint-origin")
	case len(t.TrustedKeys) == 0:
		return refuse("trusted-key", "", "needed with --target-source checkpoint: the public key that proofsync keys checkpoint has printed")
	}
	if err := checkpoint.CheckOrigin(string(t.Origin)); err != nil {
		return refuse("checkpoint-origin", string(t.Origin), "%v", err)
	}
	trust := checkpoint.Trust{Origin: string(t.Origin), Keys: t.TrustedKeys.Parsed(), Quorum: int(t.Quorum)}
	if err := trust.Check(); err != nil {
		return refuse("quorum", t.Quorum.String(), "%v", err)
	}
	return nil
}

// TargetCheckpoint is the TargetSource of signed targets.
const TargetCheckpoint TargetSource = "checkpoint"

// TargetSource is who names the newest state.
type TargetSource string

// UnmarshalText implements value.
func (s *TargetSource) UnmarshalText(text []byte) error { return oneOf(s, text, s.Accepts()) }

func (s *TargetSource) String() string { return string(*s) }

// Accepts implements value.
func (s *TargetSource) Accepts() string { return "server|" + string(TargetCheckpoint) }

// Places is a list of URLs and paths.
type Places []string

func (p *Places) reset() { *p = nil }

// UnmarshalText implements value: places separated by commas.
func (p *Places) UnmarshalText(text []byte) error {
	p.reset()
	if len(text) == 0 {
		return nil
	}
	for one := range strings.SplitSeq(string(text), ",") {
		if err := p.appendText(strings.TrimSpace(one)); err != nil {
			return err
		}
	}
	return nil
}

func isWebPlace(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.User == nil && u.Fragment == ""
}

// appendText adds one place.
func (p *Places) appendText(text string) error {
	if text == "" || strings.Contains(text, "://") && !isWebPlace(text) {
		return errNotAccepted
	}
	if !slices.Contains(*p, text) {
		*p = append(*p, text)
	}
	return nil
}

func (p *Places) String() string { return strings.Join(*p, ",") }

// Accepts implements value.
func (p *Places) Accepts() string { return "http(s)://host[:port]/path, or the path of a file" }

// Keys is a list of public keys as they are written, in the order given.
type Keys []string

func (k *Keys) reset() { *k = nil }

// UnmarshalText implements value: keys separated by commas.
func (k *Keys) UnmarshalText(text []byte) error {
	k.reset()
	if len(text) == 0 {
		return nil
	}
	return k.appendText(string(text))
}

// appendText adds one key or several separated by commas.
func (k *Keys) appendText(text string) error {
	for one := range strings.SplitSeq(text, ",") {
		key, err := checkpoint.ParseKey(strings.TrimSpace(one))
		if err != nil {
			return errNotAccepted
		}
		*k = append(*k, key.String())
	}
	return nil
}

// Parsed are the keys.
func (k Keys) Parsed() []checkpoint.Key {
	all := make([]checkpoint.Key, len(k))
	for i, text := range k {
		key, err := checkpoint.ParseKey(text)
		if err != nil {
			panic(err) // it was parsed before
		}
		all[i] = key
	}
	return all
}

func (k *Keys) String() string { return strings.Join(*k, ",") }

// Accepts implements value.
func (k *Keys) Accepts() string {
	return "NAME+HASH+BASE64 of public Ed25519 keys (not PRIVATE+KEY+...), separated by commas"
}

// StaticTarget is a target given by hand; zero: none.
type StaticTarget struct{ wire.Target }

// UnmarshalText implements value.
func (t *StaticTarget) UnmarshalText(text []byte) error {
	t.Target = wire.Target{}
	if len(text) == 0 {
		return nil
	}
	var err error
	if t.Target, err = wire.ParseTarget(string(text)); err != nil {
		return errNotAccepted
	}
	return nil
}

func (t *StaticTarget) String() string {
	if t.Target == (wire.Target{}) {
		return ""
	}
	return t.Target.String()
}

// Accepts implements value.
func (t *StaticTarget) Accepts() string {
	return "ROOT:START:END, a root of 64 hexadecimal digits and the range of locations under it"
}
