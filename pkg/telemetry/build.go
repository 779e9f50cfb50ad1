package telemetry

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
)

// Set by the linker in release builds:
//
//	-ldflags "-X github.com/proofsync/proofsync/pkg/telemetry.version=v1.2.3 -X …telemetry.commit=abc"
var version, commit string

// BuildInfo says which program this is.
type BuildInfo struct {
	Version string // of a release, the module version of a go install, or "devel"
	Commit  string // revision, with "-dirty" after local changes; "unknown" without version control
	Go      string // toolchain, such as go1.26.1
}

func (b BuildInfo) String() string {
	return fmt.Sprintf("version=%s commit=%s go=%s", b.Version, b.Commit, b.Go)
}

// Build returns what the linker or the Go toolchain recorded about this program.
var Build = sync.OnceValue(func() BuildInfo {
	info, _ := debug.ReadBuildInfo()
	return buildInfo(version, commit, info)
})

func buildInfo(version, commit string, info *debug.BuildInfo) BuildInfo {
	b := BuildInfo{Version: version, Commit: commit, Go: runtime.Version()}
	if info != nil {
		if b.Version == "" && info.Main.Version != "(devel)" {
			b.Version = info.Main.Version
		}
		var revision, dirty string
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision":
				revision = s.Value
			case s.Key == "vcs.modified" && s.Value == "true":
				dirty = "-dirty"
			}
		}
		if b.Commit == "" && revision != "" {
			b.Commit = revision + dirty
		}
	}
	if b.Version == "" {
		b.Version = "devel"
	}
	if b.Commit == "" {
		b.Commit = "unknown"
	}
	return b
}
