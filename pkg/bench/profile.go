package bench

import (
	"errors"
	"os"
	"runtime"
	"runtime/pprof"
)

// blockRate is the time in nanoseconds, of being blocked, for which an event is
// sampled on average: low enough for what matters, and free for what does not.
const blockRate = 10_000

// profile begins profiles of this process; stop writes them to files whose paths
// begin with prefix: NAME.cpu.pprof, NAME.allocs.pprof, NAME.block.pprof. An
// empty prefix asks for none.
func profile(prefix string) (stop func() error, err error) {
	if prefix == "" {
		return func() error { return nil }, nil
	}
	cpu, err := os.Create(prefix + ".cpu.pprof")
	if err != nil {
		return nil, err
	}
	runtime.SetBlockProfileRate(blockRate)
	if err := pprof.StartCPUProfile(cpu); err != nil {
		return nil, errors.Join(err, cpu.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		err := cpu.Close()
		runtime.GC() // allocations are counted by finished collections
		for _, name := range []string{"allocs", "block"} {
			err = errors.Join(err, writeProfile(name, prefix+"."+name+".pprof"))
		}
		return err
	}, nil
}

func writeProfile(name, path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(pprof.Lookup(name).WriteTo(f, 0), f.Close())
}
