package document

// Backup describes a backup that the process behind a socket made.
type Backup struct {
	Path string `json:"path"`
	Head
	Epoch       uint64  `json:"epoch"`
	Files       int     `json:"files"`
	Bytes       int64   `json:"bytes"`        // of all files
	LinkedBytes int64   `json:"linked_bytes"` // of those, shared with the storage directory by hard links
	Seconds     float64 `json:"seconds"`
}

// BackupEvent is a line of the answer to POST /local/backup. The last one has
// either a Backup or a Problem.
type BackupEvent struct {
	Done    int64    `json:"done_bytes"`
	Total   int64    `json:"total_bytes"`
	Backup  *Backup  `json:"backup,omitempty"`
	Problem *Problem `json:"problem,omitempty"`
}
