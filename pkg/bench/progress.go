package bench

import (
	"log/slog"
	"time"
)

// progressPause is how often one hears of a preparation.
const progressPause = 5 * time.Second

// progress tells how far a long preparation is.
type progress struct {
	log         *slog.Logger
	task        string
	total       int
	began, said time.Time
}

func newProgress(log *slog.Logger, task string, total int) *progress {
	now := time.Now()
	return &progress{log, task, total, now, now}
}

// at says that so many of total are done.
func (p *progress) at(done int) {
	if time.Since(p.said) < progressPause {
		return
	}
	p.said = time.Now()
	p.log.Info(p.task, "writes", done, "total", p.total, "rate", int(float64(done)/time.Since(p.began).Seconds()), "eta", left(p.began, done, p.total))
}

// end says that it is over, with what came of it.
func (p *progress) end(attributes ...any) {
	p.log.Info(p.task+": done", append([]any{"writes", p.total, "duration", time.Since(p.began).Round(time.Millisecond)}, attributes...)...)
}

// left is how long the rest takes if it goes on like this; done is not 0.
func left(began time.Time, done, total int) time.Duration {
	each := time.Since(began) / time.Duration(done)
	return (each * time.Duration(total-done)).Round(10 * time.Millisecond)
}
