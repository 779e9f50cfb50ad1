package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// session is the time in which one variant of a scenario is measured. Its
// processes and directories end with it, or before.
type session struct {
	*lab
	name    string // for the files of profiles
	cleanup []func() error
}

func newSession(l *lab, name string) *session { return &session{lab: l, name: name} }

// close undoes what was done, the last first.
func (s *session) close() error {
	var errs []error
	for _, fn := range slices.Backward(s.cleanup) {
		errs = append(errs, fn())
	}
	s.cleanup = nil
	return errors.Join(errs...)
}

// within runs fn in a part of the session, which ends with it: for what every run
// has for itself.
func (s *session) within(fn func(part *session) (sample, error)) (result sample, err error) {
	part := newSession(s.lab, s.name)
	defer func() { err = errors.Join(err, part.close()) }()
	return fn(part)
}

// start starts a child. Those that are not ended before end with the session.
func (s *session) start(ctx context.Context, j job) (*process, answer, error) {
	if s.o.Profile != "" {
		name := fmt.Sprintf("%s-%d-%s", fileName(s.name), s.ops, j.Role)
		s.counts[name]++
		j.Profile = filepath.Join(s.o.Profile, fmt.Sprintf("%s-%d", name, s.counts[name]))
	}
	p, a, err := spawn(ctx, s.o, j)
	if err != nil {
		return nil, a, err
	}
	s.cleanup = append(s.cleanup, func() error {
		err := p.end() // in good order, so that it writes its profiles
		if ctx.Err() != nil {
			err = nil // it was killed
		}
		return err
	})
	return p, a, nil
}

// temp is a new empty directory for a database of the lab's size.
func (s *session) temp() (string, error) {
	if err := s.room(s.databaseBytes()); err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp(s.dir, "run-*")
	if err != nil {
		return "", err
	}
	s.cleanup = append(s.cleanup, func() error { return os.RemoveAll(dir) })
	return dir, nil
}

// copyOf is a copy of a prepared directory, to be written to.
func (s *session) copyOf(ctx context.Context, p *prepared) (string, error) {
	dir, err := s.temp()
	if err != nil {
		return "", err
	}
	return dir, link(ctx, s.o, p.dir, dir)
}

// fileName is a title without spaces.
func fileName(title string) string { return strings.NewReplacer(", ", "-", " ", "-").Replace(title) }
