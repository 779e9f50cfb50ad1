package hostile

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/proofsync/proofsync/pkg/certs"
	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/serve"
	"github.com/proofsync/proofsync/pkg/store"
)

// roleVariable makes this program, run again, a server or an attacker. Its
// argument is in argumentVariable.
const (
	roleVariable     = "HOSTILE_ROLE"
	argumentVariable = "HOSTILE_ARGUMENT"
)

func TestMain(m *testing.M) {
	var err error
	switch os.Getenv(roleVariable) {
	case "server":
		err = beServer(os.Getenv(argumentVariable))
	case "attacker":
		err = beAttacker(os.Getenv(argumentVariable))
	default:
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// child is this program in another role. It ends when its input does.
type child struct {
	t   *testing.T
	in  io.WriteCloser
	out *bufio.Scanner
}

func start(t *testing.T, role, argument string) *child {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), roleVariable+"="+role, argumentVariable+"="+argument)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &child{t, in, bufio.NewScanner(out)}
	t.Cleanup(func() {
		c.in.Close()
		late := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
		defer late.Stop()
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s %s: %v", role, argument, err)
		}
	})
	return c
}

// says returns its next line.
func (c *child) says() string {
	c.t.Helper()
	if !c.out.Scan() {
		c.t.Fatalf("it ended: %v", c.out.Err())
	}
	return c.out.Text()
}

// ops is the number of operations the server has, about.
const ops = 100_000

var codec = operation.NewCodec(operation.Any, operation.Fixed)

// settings of a server in a test.
type settings struct {
	MaxTotalBytes int64
	Client        serve.Limits
	TLS           string // folder with the files of newPapers; empty: connections are not encrypted
}

// facts are what a server says of itself.
type facts struct {
	Goroutines, Files int
	Heap              uint64 // bytes in use after a collection
}

// beServer serves until its input ends. It says where, and then its facts for
// every line of input.
func beServer(argument string) error {
	var set settings
	if err := json.Unmarshal([]byte(argument), &set); err != nil {
		return err
	}
	db, err := database.Open("db", database.Options{Codec: codec, FS: store.MemFS(), CreateIfMissing: true})
	if err != nil {
		return err
	}
	defer db.Close()
	for key := uint64(0); key < ops; {
		var b database.Batch
		for range 10_000 {
			k, v := make([]byte, 32), make([]byte, 32)
			key++
			binary.BigEndian.PutUint64(k, key*0x9e3779b97f4a7c15)
			b.Writes = append(b.Writes, database.Write{Key: k, Value: v})
		}
		if _, err := db.Apply(context.Background(), b); err != nil {
			return err
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	var encrypted *tls.Config
	if set.TLS != "" {
		papers, err := loadPapers(set.TLS)
		if err != nil {
			return err
		}
		encrypted = papers.ServerConfig(certs.ProtoSync)
	}
	s := serve.New(serve.FromDatabase(db), serve.Options{
		MaxTotalBytes: set.MaxTotalBytes, ClientLimits: set.Client, TLS: encrypted,
		ReadTimeout: 2 * time.Second, WriteTimeout: 2 * time.Second, // an attack has seconds
	})
	served := make(chan error, 1)
	go func() { served <- s.Serve(context.Background(), l) }()
	v, err := db.View()
	if err != nil {
		return err
	}
	fmt.Println(l.Addr(), v.Size())
	v.Close()
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		files, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			return err
		}
		line, err := json.Marshal(facts{runtime.NumGoroutine(), len(files), m.HeapAlloc})
		if err != nil {
			return err
		}
		fmt.Println(string(line))
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience/2)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		return err
	}
	return <-served
}

// server is a server in a process of its own.
type server struct {
	*child
	victim
	tls *tls.Config // of an honest client; nil: connections are not encrypted
}

// victim is what an attacker has to know.
type victim struct {
	addr string
	size uint64 // of the log
}

func startServer(t *testing.T, set settings) *server {
	t.Helper()
	argument, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{child: start(t, "server", string(argument))}
	if _, err := fmt.Sscan(s.says(), &s.addr, &s.size); err != nil {
		t.Fatal(err)
	}
	if set.TLS != "" {
		papers, err := loadPapers(set.TLS)
		if err != nil {
			t.Fatal(err)
		}
		s.tls = papers.ClientConfig("127.0.0.1", certs.ProtoSync)
	}
	return s
}

func (s *server) facts() (f facts) {
	s.t.Helper()
	if _, err := io.WriteString(s.in, "?\n"); err != nil {
		s.t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(s.says()), &f); err != nil {
		s.t.Fatal(err)
	}
	return f
}

// beAttacker attacks until its input ends.
func beAttacker(argument string) error {
	// The machine's time is the server's and the honest client's.
	if err := unix.Setpriority(unix.PRIO_PROCESS, 0, 19); err != nil {
		return err
	}
	runtime.GOMAXPROCS(1)
	var name string
	var on victim
	if _, err := fmt.Sscan(argument, &name, &on.addr, &on.size); err != nil {
		return err
	}
	attack, ok := attacks[name]
	if !ok {
		return fmt.Errorf("there is no attack %q", name)
	}
	go attack(on)
	fmt.Println("attacking")
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// underAttack starts an attack, which the returned function ends.
func (s *server) underAttack(t *testing.T, name string) (stop func()) {
	t.Helper()
	c := start(t, "attacker", fmt.Sprint(name, " ", s.addr, " ", s.size))
	c.says()
	return func() { c.in.Close() }
}
