package bench

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strconv"
)

// peakMemory is the largest resident set of this process, in bytes; 0 if the
// system does not tell. (What wait4 reports of a child begins with the memory
// of the parent that forked it, so every process reads its own.)
func peakMemory() uint64 { return peakMemoryOf(os.Getpid()) }

func peakMemoryOf(pid int) uint64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for s := bufio.NewScanner(bytes.NewReader(status)); s.Scan(); {
		rest, ok := bytes.CutPrefix(s.Bytes(), []byte("VmHWM:"))
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(string(bytes.TrimSpace(bytes.TrimSuffix(rest, []byte("kB")))), 10, 64)
		if err != nil {
			return 0
		}
		return n << 10
	}
	return 0
}
