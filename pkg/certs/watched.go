package certs

import (
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"os"
	"sync/atomic"
)

// A digest stands for what files hold, or for what kept us from reading them.
type digest [sha256.Size]byte

// A file is one that material lies in.
type file struct {
	what string // for messages
	path string
}

// watched is material of type T made of files, which can be made of them again.
//
// current may be read by everybody; the rest belongs to whoever calls load and
// look, one goroutine at a time.
type watched[T any] struct {
	files []file
	parse func(contents [][]byte) (*T, error)
	// takes says whether new material is worth having; nil: all of it is.
	takes func(old, next *T) error

	current atomic.Pointer[T]
	held    digest // of the files that current was made of
	seen    digest // of the files at the last look
	failed  digest // of the files whose failure was reported; zero: none
}

// load reads the material for the first time.
func (w *watched[T]) load() error {
	contents, sum, err := w.read()
	if err != nil {
		return err
	}
	m, err := w.parse(contents)
	if err != nil {
		return err
	}
	w.current.Store(m)
	w.held, w.seen = sum, sum
	return nil
}

// An outcome is what came of a look.
type outcome uint8

const (
	unchanged outcome = iota
	changed           // there is new material
	rejected          // the files cannot be used, which was not known; comes with an error
	recovered         // they can be used again, and are what is in use
)

// look reads the files again. What is found has to be the same at two looks
// before it counts.
func (w *watched[T]) look() (outcome, error) {
	contents, sum, err := w.read()
	settled := sum == w.seen
	w.seen = sum
	switch {
	case !settled:
		return unchanged, nil
	case sum == w.held:
		if w.failed == (digest{}) {
			return unchanged, nil
		}
		w.failed = digest{}
		return recovered, nil
	}
	var m *T
	if err == nil {
		m, err = w.parse(contents)
	}
	if err == nil && w.takes != nil {
		err = w.takes(w.current.Load(), m)
	}
	if err != nil {
		if w.failed == sum {
			return unchanged, nil
		}
		w.failed = sum
		return rejected, err
	}
	w.current.Store(m)
	w.held, w.failed = sum, digest{}
	return changed, nil
}

// failing says whether the files cannot be used as they are.
func (w *watched[T]) failing() bool { return w.failed != digest{} }

// read returns the contents of the files. Errors have a digest as well: the same
// one as long as they are the same.
func (w *watched[T]) read() (contents [][]byte, sum digest, err error) {
	h := sha256.New()
	for _, f := range w.files {
		data, e := readFile(f.path)
		if e != nil {
			e = &FileError{f.what, f.path, e}
			data = []byte(e.Error())
			if err == nil { // one is enough to say
				err = e
			}
		}
		one := sha256.Sum256(data)
		h.Write(one[:])
		contents = append(contents, data)
	}
	if err != nil {
		h.Write([]byte{0})
	}
	h.Sum(sum[:0])
	return contents, sum, err
}

// readFile reads a regular file, or one behind links.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "read", Path: path, Err: errors.New("is not a file")}
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFile {
		return nil, ErrTooLarge
	}
	return data, nil
}
