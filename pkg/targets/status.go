package targets

import "time"

// Status is how things stand with the checkpoints. It is a copy.
type Status struct {
	Origin string
	Quorum int
	MaxAge time.Duration // 0: as old as they like

	// Of the newest that may be followed; zero if there was none yet.
	Epoch   uint64
	Size    uint64
	Signers []string // names of the trusted keys that have signed; unknown after a restart
	Time    time.Time
	Age     time.Duration

	// Stale says that none is known that is fresh enough to be followed.
	Stale bool
	// Refusal is why there was none when it was last asked for; nil: there was.
	Refusal error
}

// Status returns a snapshot.
func (s *Source) Status() Status {
	s.mu.Lock()
	newest, refusal := s.newest, s.refusal
	s.mu.Unlock()
	st := Status{Origin: s.o.Trust.Origin, Quorum: s.o.Trust.Quorum, MaxAge: s.o.Trust.MaxAge, Stale: true, Refusal: refusal}
	if newest == nil {
		return st
	}
	st.Epoch, st.Size, st.Signers, st.Time = newest.Epoch, newest.Target.End, newest.Signers, newest.Time
	st.Age = max(0, s.o.Now().Sub(newest.Time))
	st.Stale = st.MaxAge > 0 && st.Age > st.MaxAge
	return st
}
