package importer

import (
	"log/slog"
	"time"
)

// progressInterval is how often a long pass reports.
const progressInterval = 5 * time.Second

// progress logs how far a pass has come, at most once an interval.
type progress struct {
	logger  *slog.Logger
	message string
	total   int64 // records, 0 if not known
	done    int64
	began   time.Time
	last    time.Time
}

func newProgress(logger *slog.Logger, message string, total int64) *progress {
	now := time.Now()
	return &progress{logger: logger, message: message, total: total, began: now, last: now}
}

func (p *progress) add(n int64) {
	p.done += n
	if p.done%16 != 0 { // reading the clock costs as much as parsing a short line
		return
	}
	now := time.Now()
	if now.Sub(p.last) < progressInterval {
		return
	}
	p.last = now
	rate := float64(p.done) / now.Sub(p.began).Seconds()
	attrs := []any{"records", p.done, "rate", int64(rate)}
	if p.total > 0 {
		left := time.Duration(float64(p.total-p.done) / rate * float64(time.Second))
		attrs = append(attrs, "total", p.total, "eta", left.Round(time.Second))
	}
	p.logger.Info(p.message, attrs...)
}
