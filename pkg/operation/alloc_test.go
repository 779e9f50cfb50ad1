package operation_test

import (
	"errors"
	"math"
	"runtime"
	"testing"

	"github.com/proofsync/proofsync/pkg/operation"
)

func TestHugeCountsAllocateNothing(t *testing.T) {
	short := []byte{0xD1, 1, 'k'}
	for _, name := range []string{"any/fixed", "any/variable"} {
		for _, count := range []int{-1, 1 << 20, math.MaxInt32, math.MaxInt} {
			if _, _, err := codecs[name].Split(short, count); !errors.Is(err, operation.ErrDecode) {
				t.Errorf("%s: %d operations: %v", name, count, err)
			}
			if n := allocated(func() { codecs[name].Split(short, count) }); n > 1024 {
				t.Errorf("%s: %d operations: %d bytes allocated", name, count, n)
			}
		}
	}
	// A declared length of 4 GiB, as the key of the only operation.
	long := []byte{0xD1, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F, 'k'}
	if _, err := codecs["any/variable"].Decode(long); !errors.Is(err, operation.ErrTooLarge) {
		t.Errorf("%v", err)
	}
}

// allocated is how many bytes f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestDecodingAllocatesNothingPerOperation(t *testing.T) {
	for name, c := range codecs {
		b := manyOperations(t, c, 1000)
		most := 0.0
		if c.Encoding() == operation.Variable {
			most = 1 // the ends
		}
		sum := 0
		if n := testing.AllocsPerRun(5, func() {
			run, _, err := c.Split(b, 1000)
			if err != nil {
				t.Fatal(err)
			}
			for i := range run.Len() {
				op, err := c.Decode(run.At(i))
				if err != nil {
					t.Fatal(err)
				}
				sum += len(op.Value)
			}
		}); n > most {
			t.Errorf("%s: %v allocations for 1000 operations", name, n)
		}
	}
}
