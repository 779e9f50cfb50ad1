//go:build !unix

package store

// isLocked tells a lock that somebody holds from any other failure to lock.
// Where the system does not say, a lock that cannot be had is held.
func isLocked(error) bool { return true }

// holder describes who holds a lock; here, nobody can tell.
func holder(FS, string) string { return "another process" }
