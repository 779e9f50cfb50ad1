package document

import (
	"fmt"
	"maps"
	"net/http"
)

// ProblemType is the media type of a Problem (RFC 9457).
const ProblemType = "application/problem+json"

// Code names a problem; it is stable across versions.
type Code string

// The codes, with the HTTP status each goes with.
const (
	CodeInvalidRequest   Code = "invalid_request"      // 400: a parameter, header or body does not parse
	CodeInvalidKey       Code = "invalid_key"          // 400: length, encoding or base64
	CodeInvalidValue     Code = "invalid_value"        // 400
	CodeDuplicateKey     Code = "duplicate_key"        // 400: a batch writes a key twice
	CodeUnauthorized     Code = "unauthorized"         // 401
	CodeWritesDisabled   Code = "writes_disabled"      // 403: this process takes no writes
	CodeNotFound         Code = "not_found"            // 404: no such path
	CodeNoCheckpoint     Code = "no_checkpoint"        // 404: nothing is signed here, or not yet
	CodeKeyNotFound      Code = "key_not_found"        // 404: the key has no value under the root named
	CodeMethodNotAllowed Code = "method_not_allowed"   // 405
	CodeNotText          Code = "not_text"             // 406: bytes=utf8 was asked for what is no text
	CodeNotAcceptable    Code = "not_acceptable"       // 406
	CodeTimeout          Code = "timeout"              // 408: the request took too long to arrive
	CodePrecondition     Code = "precondition_failed"  // 412: a precondition of a batch does not hold
	CodeImmutable        Code = "immutable_key"        // 409: a key of an immutable database has a value, or cannot be deleted
	CodeKeyReused        Code = "idempotency_key_used" // 409: with another body
	CodeGone             Code = "gone"                 // 410: the location or size is not retained
	CodeTooLarge         Code = "too_large"            // 413: body, key, value or URL
	CodeUnsupportedType  Code = "unsupported_type"     // 415
	CodeNotBoundary      Code = "not_a_commit"         // 422: the size is not that of a commit
	CodeBeyond           Code = "beyond"               // 422: the location or size lies beyond the log
	CodeFloor            Code = "invalid_floor"        // 422: out of range, or not for this family
	CodeTooMany          Code = "too_many_requests"    // 429
	CodeInternal         Code = "internal"             // 500
	CodeDatabase         Code = "database"             // 500: what is stored cannot be read
	CodeEmpty            Code = "empty"                // 503: a replica before its first sync
	CodeUnavailable      Code = "unavailable"          // 503: shutting down, or too busy
	CodeDiskFull         Code = "disk_full"            // 507: writing is paused; nothing was written
)

var statuses = map[Code]int{
	CodeInvalidRequest: http.StatusBadRequest, CodeInvalidKey: http.StatusBadRequest,
	CodeInvalidValue: http.StatusBadRequest, CodeDuplicateKey: http.StatusBadRequest,
	CodeUnauthorized: http.StatusUnauthorized, CodeWritesDisabled: http.StatusForbidden,
	CodeNotFound: http.StatusNotFound, CodeKeyNotFound: http.StatusNotFound,
	CodeNoCheckpoint:     http.StatusNotFound,
	CodeMethodNotAllowed: http.StatusMethodNotAllowed,
	CodeNotText:          http.StatusNotAcceptable, CodeNotAcceptable: http.StatusNotAcceptable,
	CodeTimeout: http.StatusRequestTimeout, CodePrecondition: http.StatusPreconditionFailed,
	CodeImmutable: http.StatusConflict, CodeKeyReused: http.StatusConflict, CodeGone: http.StatusGone,
	CodeTooLarge: http.StatusRequestEntityTooLarge, CodeUnsupportedType: http.StatusUnsupportedMediaType,
	CodeNotBoundary: http.StatusUnprocessableEntity, CodeBeyond: http.StatusUnprocessableEntity,
	CodeFloor: http.StatusUnprocessableEntity, CodeTooMany: http.StatusTooManyRequests,
	CodeInternal: http.StatusInternalServerError, CodeDatabase: http.StatusInternalServerError,
	CodeEmpty: http.StatusServiceUnavailable, CodeUnavailable: http.StatusServiceUnavailable,
	CodeDiskFull: http.StatusInsufficientStorage,
}

// Status is the HTTP status a problem of this code is sent with.
func (c Code) Status() int {
	if s, ok := statuses[c]; ok {
		return s
	}
	return http.StatusInternalServerError
}

// Codes are all codes with their statuses; the map is the caller's.
func Codes() map[Code]int {
	return maps.Clone(statuses)
}

// Problem is the body of every answer that is no success. It is an error, too.
type Problem struct { //nolint:errname // the name RFC 9457 gives it, and what it is on the wire
	Type   string `json:"type"`   // "urn:proofsync:problem:" and the code
	Title  string `json:"title"`  // the HTTP status in words
	Status int    `json:"status"` // the HTTP status
	Detail string `json:"detail"` // what is wrong with this request, and what would be right
	Code   Code   `json:"code"`

	// Head is the state that was looked at, where there was one: that a key
	// has no value is an answer under a root like any other.
	*Head
	Key     string `json:"key,omitempty"`     // the one the problem is about, as the request wrote it
	Line    uint64 `json:"line,omitempty"`    // of a stream of writes, from 1
	Applied *int   `json:"applied,omitempty"` // writes of a stream that were committed before the problem
}

// NewProblem makes a problem with a detail for people.
func NewProblem(code Code, format string, args ...any) *Problem {
	return &Problem{
		Type: "urn:proofsync:problem:" + string(code), Title: http.StatusText(code.Status()),
		Status: code.Status(), Code: code, Detail: fmt.Sprintf(format, args...),
	}
}

func (p *Problem) Error() string { return p.Detail }
