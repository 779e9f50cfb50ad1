package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/proofsync/proofsync/pkg/database"
)

// prepareBatch is the number of writes in a commit of the prepared database.
const prepareBatch = 10_000

// prepare makes the server's database: o.Ops writes of random 32-byte keys and
// values, the same ones each time. In the family any a batch also moves an
// operation and commits, so that the log is slightly longer.
func prepare(ctx context.Context, dir string, o Options) (r *Report, err error) {
	began := time.Now()
	db, err := database.Open(dir, database.Options{Codec: o.Codec, CreateIfMissing: true, Logger: o.Logger})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	random := rand.NewChaCha8([32]byte{1})
	buf := make([]byte, 64*prepareBatch)
	writes := make([]database.Write, 0, prepareBatch)
	report := time.Now()
	for left := o.Ops; left > 0; left -= len(writes) {
		writes = writes[:0]
		for i := range min(left, prepareBatch) {
			kv := buf[64*i : 64*i+64]
			for j := 0; j < len(kv); j += 8 {
				binary.LittleEndian.PutUint64(kv[j:], random.Uint64())
			}
			writes = append(writes, database.Write{Key: kv[:32], Value: kv[32:]})
		}
		if _, err := db.Apply(ctx, database.Batch{Writes: writes, NoSync: true}); err != nil {
			return nil, err
		}
		if time.Since(report) > 5*time.Second {
			report = time.Now()
			done := o.Ops - left + len(writes)
			rate := float64(done) / time.Since(began).Seconds()
			o.Logger.Info("preparing database", "writes", done, "total", o.Ops, "rate", int(rate),
				"eta", time.Duration(float64(o.Ops-done)/rate*float64(time.Second)).Round(time.Second))
		}
	}
	if err := db.Sync(); err != nil {
		return nil, err
	}
	view, err := db.View()
	if err != nil {
		return nil, err
	}
	defer view.Close()
	r = &Report{
		Family: o.Codec.Family().String(), Encoding: o.Codec.Encoding().String(), Writes: o.Ops,
		Size: view.Size(), Start: max(view.Floor(), view.Start()), Root: view.Root(), Prepare: time.Since(began).Seconds(),
	}
	o.Logger.Info("database prepared", "size", r.Size, "start", r.Start, "root", r.Root, "duration", time.Since(began).Round(time.Millisecond))
	return r, nil
}
