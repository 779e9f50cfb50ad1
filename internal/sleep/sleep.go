// Package sleep waits for a time or for a context, whichever ends first.
package sleep

import (
	"context"
	"time"
)

// For waits for d. It returns the error of ctx if that ended first, or has ended.
func For(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
