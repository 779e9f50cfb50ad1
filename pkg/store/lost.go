package store

import (
	"encoding/json"
	"fmt"

	"github.com/proofsync/proofsync/internal/durable"
	"github.com/proofsync/proofsync/pkg/mmr"
)

// lostName is the file that remembers what was readable before damaged data was
// set aside. docs/format.md section 9.
const lostName = "LOST"

// mostLost bounds the file, in bytes.
const mostLost = 4 << 10

// Lost is a state that was readable, and that is not stored any more: what takes
// its place has to continue it.
type Lost struct {
	Size uint64     `json:"size"`
	Root mmr.Digest `json:"root"`
}

// ReadLost returns what KeepLost has remembered; zero: nothing. What cannot be
// it is an error: it protects from other histories, so it is never nothing.
func (d *Dir) ReadLost() (Lost, error) {
	l, err := readLost(d.fs, d.path)
	if err != nil {
		return Lost{}, fmt.Errorf("%s, which remembers the history that was lost with damaged data, cannot be used: %w; remove it to accept any history in its place", d.join(lostName), err)
	}
	return l, nil
}

// KeepLost remembers a state, durably, unless a larger one is remembered.
func (d *Dir) KeepLost(l Lost) error { return keepLost(d.fs, d.path, l) }

// ForgetLost is called when it is known what became of it.
func (d *Dir) ForgetLost() error { return removeFile(d.fs, d.path, lostName) }

func keepLost(fs FS, dir string, l Lost) error {
	if before, err := readLost(fs, dir); err == nil && before.Size >= l.Size {
		return nil
	}
	data, err := json.Marshal(l)
	if err == nil {
		err = writeFile(fs, dir, lostName, append(data, '\n'))
	}
	if err != nil {
		return fmt.Errorf("remember what is lost in %s: %w", fs.PathJoin(dir, lostName), err)
	}
	return nil
}

func readLost(fs FS, dir string) (l Lost, err error) {
	data, err := durable.Read(fs, fs.PathJoin(dir, lostName), mostLost)
	if err != nil || data == nil {
		return Lost{}, err
	}
	err = json.Unmarshal(data, &l)
	if err == nil && (l.Size == 0 || l.Root == mmr.Digest{}) {
		err = fmt.Errorf("%.100q: size and root expected", data)
	}
	return l, err
}
