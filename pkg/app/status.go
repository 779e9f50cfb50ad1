package app

import (
	"errors"
	"sync/atomic"
)

// status is what the probes look at. Parts set their conditions as they start
// and clear them as they stop.
type status struct {
	database condition // of /startupz and /readyz
	disk     condition // of /readyz
	data     condition // of /readyz
	traffic  condition // of /readyz
}

func newStatus() *status { return new(status) }

// ready is what /readyz says.
func (s *status) ready() bool {
	return s.database.Check() == nil && s.disk.Check() == nil && s.data.Check() == nil && s.traffic.Check() == nil
}

// condition is a probe that only becomes known once a part has started.
type condition struct{ check atomic.Pointer[func() error] }

var errNotStarted = errors.New("not started")

// holds is the check of a condition that holds as long as it is set.
func holds() error { return nil }

func (c *condition) set(check func() error) { c.check.Store(&check) }

func (c *condition) clear() { c.check.Store(nil) }

// Check implements the probe.
func (c *condition) Check() error {
	check := c.check.Load()
	if check == nil {
		return errNotStarted
	}
	return (*check)()
}
