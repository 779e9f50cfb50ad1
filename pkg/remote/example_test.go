package remote_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"time"

	"github.com/proofsync/proofsync/pkg/api"
	"github.com/proofsync/proofsync/pkg/committer"
	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/document"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/remote"
	"github.com/proofsync/proofsync/pkg/verify"
)

// exampleServer starts what cmd/server offers at --http-port, with a new
// database of any/variable and the token "example-token-16".
func exampleServer() (url string, stop func()) {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	db, err := database.Open(dir, database.Options{Codec: operation.NewCodec(operation.Any, operation.Variable), CreateIfMissing: true})
	if err != nil {
		panic(err)
	}
	c, err := committer.New(db, committer.Options{})
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	a := api.New(api.Options{DB: db, Committer: c, Token: func(t string) bool { return t == "example-token-16" }})
	s := httptest.NewServer(a.Handler())
	return s.URL, func() {
		err := a.Shutdown(ctx)
		s.Close()
		cancel()
		<-ended
		if err := errors.Join(err, db.Close(), os.RemoveAll(dir)); err != nil {
			panic(err)
		}
	}
}

// Write a key on the condition that it is new, and read it.
func Example() {
	url, stop := exampleServer()
	defer stop()
	ctx := context.Background()

	c, err := remote.New(url, remote.Options{Token: "example-token-16", Timeout: 5 * time.Second})
	if err != nil {
		panic(err)
	}
	defer c.Close()
	for range 2 {
		_, err = c.Apply(ctx, remote.Batch{Writes: []remote.Write{{Key: []byte("alice"), Value: []byte("Engineer"), IfAbsent: true}}})
		var p *document.Problem
		switch {
		case errors.As(err, &p) && p.Code == document.CodePrecondition:
			fmt.Println("somebody was faster")
		case err != nil:
			panic(err)
		default:
			fmt.Println("written")
		}
	}
	entry, err := c.Get(ctx, []byte("alice"), remote.GetOptions{})
	if err != nil {
		panic(err)
	}
	value, err := c.Decode(*entry.Value)
	if err != nil {
		panic(err)
	}
	fmt.Printf("%s, under the root %.8s… of %d operations\n", value, entry.Root, entry.Size)
	// Output:
	// written
	// somebody was faster
	// Engineer, under the root 32d414cb… of 4 operations
}

// Write a batch of two keys, together or not at all.
func ExampleClient_Apply() {
	url, stop := exampleServer()
	defer stop()
	write := func(ctx context.Context, url, token string) error {
		c, err := remote.New(url, remote.Options{Token: token})
		if err != nil {
			return err
		}
		defer c.Close()
		done, err := c.Apply(ctx, remote.Batch{Writes: []remote.Write{
			{Key: []byte("alice"), Value: []byte("1")},
			{Key: []byte("bob"), Value: []byte("2"), IfAbsent: true},
		}})
		if err != nil {
			return err // a *document.Problem if the server refused
		}
		fmt.Println(done.Writes, "writes, now", done.Size, "operations")
		return nil
	}
	if err := write(context.Background(), url, "example-token-16"); err != nil {
		panic(err)
	}
	// Output: 2 writes, now 5 operations
}

// Read from a server one does not trust, under a root that came from elsewhere.
func ExampleClient_Get_trusted() {
	url, stop := exampleServer()
	defer stop()
	ctx := context.Background()
	c, err := remote.New(url, remote.Options{Token: "example-token-16", Bytes: document.UTF8})
	if err != nil {
		panic(err)
	}
	defer c.Close()
	done, err := c.Put(ctx, []byte("alice"), []byte("Engineer"))
	if err != nil {
		panic(err)
	}

	// As a writer remembers it, or another replica says. Family and encoding of
	// the log are known from there, too: a root does not fix them.
	trusted, err := verify.ParseRoot(done.Root, done.Size, "any", "variable")
	if err != nil {
		panic(err)
	}
	entry, err := c.Get(ctx, []byte("alice"), remote.GetOptions{Trusted: &trusted})
	if err != nil {
		panic(err) // a *verify.Error if the answer is not what the root says
	}
	fmt.Println(*entry.Value)
	// Output: Engineer
}

// List keys page by page; all pages are of one state.
func ExampleClient_List() {
	url, stop := exampleServer()
	defer stop()
	ctx := context.Background()
	c, err := remote.New(url, remote.Options{Token: "example-token-16", Bytes: document.UTF8})
	if err != nil {
		panic(err)
	}
	defer c.Close()
	for _, key := range []string{"user/bob", "user/alice", "group/staff"} {
		if _, err := c.Put(ctx, []byte(key), []byte("1")); err != nil {
			panic(err)
		}
	}
	for entry, err := range c.List(ctx, remote.ListOptions{Prefix: []byte("user/"), Values: true}) {
		if err != nil {
			panic(err)
		}
		fmt.Println(entry.Key, *entry.Value)
	}
	// Output:
	// user/alice 1
	// user/bob 1
}

// Keep something in step with the database: read changes as they come, and
// begin anew after a reset.
func ExampleClient_Watch() {
	url, stop := exampleServer()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := remote.New(url, remote.Options{Token: "example-token-16", Bytes: document.UTF8})
	if err != nil {
		panic(err)
	}
	defer c.Close()
	if _, err := c.Put(ctx, []byte("alice"), []byte("Engineer")); err != nil {
		panic(err)
	}

	begin := uint64(0) // tells all keys first
	copied := make(map[string]string)
	for event, err := range c.Watch(ctx, remote.WatchOptions{Changes: true, From: &begin}) {
		if err != nil {
			panic(err)
		}
		switch event.Name {
		case document.EventChanges:
			for _, change := range event.Changes.Changes {
				if change.Deleted {
					delete(copied, change.Key)
				} else {
					copied[change.Key] = *change.Value
				}
			}
		case document.EventReset:
			panic("read everything anew") // with List, at event.Root.Size
		case document.EventRoot:
			fmt.Println(event.Root.Size, copied)
			if len(copied) == 2 {
				return
			}
			if _, err := c.Put(ctx, []byte("bob"), []byte("Doctor")); err != nil {
				panic(err)
			}
		}
	}
	// Output:
	// 4 map[alice:Engineer]
	// 7 map[alice:Engineer bob:Doctor]
}
