package database

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/store"
)

// acknowledge writes HEAD as a process would that saw more than is on disk.
func acknowledge(t *testing.T, fs store.FS, h store.Head) {
	t.Helper()
	d, err := store.OpenDir("db", store.Options{Identity: store.Identity{Database: "any/fixed", OpSize: 65}, FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	d.Acknowledge(h)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestOpeningLessThanWasAcknowledgedIsCorruption(t *testing.T) {
	c := operation.NewCodec(operation.Any, operation.Fixed)
	for _, tc := range []struct {
		name string
		head store.Head
		want string // "": opens
	}{
		{"same size, same root", store.Head{}, ""},
		{"more operations", store.Head{Generation: 1, Size: 100}, "100 were acknowledged"},
		{"another root", store.Head{Generation: 1, Size: 3, Root: mmr.Digest{1}}, "was acknowledged"},
		{"a later generation", store.Head{Generation: 2, Size: 1}, "generation 2"},
		{"fewer operations", store.Head{Generation: 1, Size: 2}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			fs := store.MemFS()
			db := openAt(t, fs, c, true)
			got, err := db.Apply(context.Background(), Batch{Writes: []Write{{Key: testKey(c, 1), Value: testValue(c, 1)}}})
			if err != nil || got.Size != 4 && got.Size != 3 {
				t.Fatalf("%+v %v", got, err)
			}
			tc.head.Size = min(tc.head.Size, 100)
			if tc.name == "another root" {
				tc.head.Size = got.Size
			}
			closeDB(t, db)
			if tc.head != (store.Head{}) {
				acknowledge(t, fs, tc.head)
			}
			db, err = Open("db", Options{Codec: c, FS: fs})
			if tc.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				closeDB(t, db)
				return
			}
			if !errors.Is(err, store.ErrCorrupt) || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("%v, want %q", err, tc.want)
			}
		})
	}
}

func TestAnUnfinishedReplicaIsNotOverwrittenByAWriter(t *testing.T) {
	c := operation.NewCodec(operation.Any, operation.Fixed)
	src := openAt(t, store.MemFS(), c, true)
	defer closeDB(t, src)
	fs := store.MemFS()
	replica := openAt(t, fs, c, false)
	l, err := replica.Stage(0, nil)
	if err != nil {
		t.Fatal(err)
	}
	v, _ := src.View()
	defer v.Close()
	op, _, _ := v.AppendOperations(nil, 0, 1, 1000)
	run, _ := c.NewRun(op)
	if err := l.Append(mmr.HashSpan(0, run), run); err != nil {
		t.Fatal(err)
	}
	if err := l.Flush(); err != nil {
		t.Fatal(err)
	}
	l.Close()
	closeDB(t, replica)
	if _, err := Open("db", Options{Codec: c, FS: fs, CreateIfMissing: true}); err == nil || !strings.Contains(err.Error(), "unfinished replica") {
		t.Fatalf("a writer took over: %v", err)
	}
	replica = openAt(t, fs, c, false)
	if s := replica.Loads(); !s.Staged || s.StagedEnd != 1 || s.Published {
		t.Fatalf("%+v", s)
	}
	closeDB(t, replica)
}
