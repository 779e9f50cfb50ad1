package remote

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/proofsync/proofsync/pkg/document"
)

// backoff says how long to wait before another try: a random time up to
// something that doubles, so that many clients do not come back together.
type backoff struct{ first, most time.Duration }

var defaultBackoff = backoff{100 * time.Millisecond, 10 * time.Second}

// maxRetryAfter bounds the patience that a server may ask for.
const maxRetryAfter = time.Minute

// before is the pause before try n, from 1, after err.
func (b backoff) before(n int, err error) time.Duration {
	most := b.most
	if n < 32 {
		most = min(most, b.first<<(n-1))
	}
	d := most/2 + rand.N(most/2+1)
	if r, ok := errors.AsType[*refusedError](err); ok {
		d = max(d, min(r.after, maxRetryAfter))
	}
	return d
}

// passing says whether an error may be gone with the next try: the connection
// failed or broke off, or the answer asks for patience.
func passing(err error) bool {
	if p, ok := errors.AsType[*document.Problem](err); ok {
		switch p.Code {
		case document.CodeUnavailable, document.CodeTooMany, document.CodeTimeout, document.CodeEmpty, document.CodeDiskFull:
			return true
		}
		return false
	}
	if s, ok := errors.AsType[*StatusError](err); ok {
		switch s.Status {
		case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
			return true
		}
		return false
	}
	return !errors.Is(err, ErrAnswer) && !errors.Is(err, ErrTooLarge)
}
