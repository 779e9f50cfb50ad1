package witness

import (
	"errors"
	"net/http"

	"github.com/proofsync/proofsync/pkg/checkpoint"
	"github.com/proofsync/proofsync/pkg/document"
)

// Codes of refusals, in problem documents and metrics.
const (
	codeMalformed document.Code = "malformed"      // no note of a checkpoint
	codeUntrusted document.Code = "untrusted"      // not signed by the writer
	codeOrigin    document.Code = "unknown_origin" // of another log
	codeStale     document.Code = "stale"          // too old, or of the future
	codeRollback  document.Code = "rollback"       // older than what was signed
	codeFork      document.Code = "fork"           // contradicts what was signed
	codeCodec     document.Code = "other_codec"    // operations written in another way than before
	codeUnproven  document.Code = "unproven"       // no source has a proof
	codeStorage   document.Code = "storage"        // the witness itself cannot
	codeTooMany   document.Code = document.CodeTooMany
	codeTooLarge  document.Code = document.CodeTooLarge
)

// statuses are the HTTP statuses of the codes.
var statuses = map[document.Code]int{
	codeMalformed: http.StatusBadRequest, codeUntrusted: http.StatusForbidden, codeOrigin: http.StatusNotFound,
	codeStale: http.StatusUnprocessableEntity, codeRollback: http.StatusConflict, codeFork: http.StatusConflict,
	codeCodec: http.StatusConflict, codeUnproven: http.StatusServiceUnavailable, codeStorage: http.StatusServiceUnavailable,
	codeTooMany: http.StatusTooManyRequests, codeTooLarge: http.StatusRequestEntityTooLarge,
}

// RefusedError says why a witness does not sign.
type RefusedError struct {
	Code document.Code // stable across versions
	Err  error
}

func (e *RefusedError) Error() string { return e.Err.Error() }

// Unwrap returns the reason.
func (e *RefusedError) Unwrap() error { return e.Err }

// Status is the HTTP status of the refusal.
func (e *RefusedError) Status() int { return statuses[e.Code] }

// refuse puts an error of checking into a refusal.
func refuse(err error) *RefusedError {
	var (
		origin   *checkpoint.OriginError
		codec    *checkpoint.CodecError
		quorum   *checkpoint.QuorumError
		stale    *checkpoint.StaleError
		future   *checkpoint.FutureError
		rollback *checkpoint.RollbackError
		fork     *checkpoint.ForkError
		diverged *DivergedError
		unproven *UnprovenError
	)
	code := codeMalformed
	switch {
	case errors.As(err, &origin):
		code = codeOrigin
	case errors.As(err, &codec):
		code = codeCodec
	case errors.As(err, &quorum):
		code = codeUntrusted
	case errors.As(err, &stale), errors.As(err, &future):
		code = codeStale
	case errors.As(err, &rollback):
		code = codeRollback
	case errors.As(err, &fork), errors.As(err, &diverged):
		code = codeFork
	case errors.As(err, &unproven):
		code = codeUnproven
	}
	return &RefusedError{code, err}
}
