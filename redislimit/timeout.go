package redislimit

import (
	"context"
	"sync/atomic"
	"time"
)

// timeouts bounds calls. Those that begin within an eighth of the time-out end
// together, by one timer: one for each call would cost a twentieth of a round
// trip.
type timeouts struct {
	after  time.Duration
	latest atomic.Pointer[timeout]
}

// timeout is a context that is done at its end.
type timeout struct {
	context.Context
	begun, end time.Time
}

// at returns the time-out of calls that begin at now.
func (t *timeouts) at(now time.Time) *timeout {
	if l := t.latest.Load(); l != nil {
		// It is before the other if that is of a synctest bubble.
		if since := now.Sub(l.begun); 0 <= since && since < t.after/8 {
			return l
		}
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	l := &timeout{ctx, now, now.Add(t.after)}
	time.AfterFunc(t.after, func() { cancel(context.DeadlineExceeded) })
	t.latest.Store(l)
	return l
}

// within returns ctx with a time-out, which comes after seven eighths of the time
// at the earliest; or ctx, if it is what within has returned. The caller must
// call stop.
func (t *timeouts) within(ctx context.Context) (timed context.Context, stop func()) {
	if _, ok := ctx.(*timedContext); ok {
		return ctx, func() {}
	}
	out := t.at(time.Now())
	if ctx.Done() == nil {
		return &timedContext{ctx, out.Context, out.end}, func() {}
	}
	end := out.end
	if deadline, ok := ctx.Deadline(); ok && deadline.Before(end) {
		end = deadline
	}
	either, cancel := context.WithCancelCause(out.Context)
	unlink := context.AfterFunc(ctx, func() { cancel(ctx.Err()) })
	return &timedContext{ctx, either, end}, func() {
		unlink()
		cancel(nil)
	}
}

// timedContext is a caller's context with a time-out.
type timedContext struct {
	context.Context                 // the caller's
	either          context.Context // done when that is, or the time is out
	end             time.Time
}

func (c *timedContext) Deadline() (time.Time, bool) { return c.end, true }
func (c *timedContext) Done() <-chan struct{}       { return c.either.Done() }
func (c *timedContext) Err() error                  { return context.Cause(c.either) }

// hurried reports whether little is left of the time-out of a call that is about to
// be made, because it had to wait before.
func (t *timeouts) hurried(ctx context.Context) bool {
	c, ok := ctx.(*timedContext)
	return ok && time.Until(c.end) < t.after/4
}

// late reports whether a context's time is out.
func late(ctx context.Context) bool {
	end, ok := ctx.Deadline()
	return ok && !time.Now().Before(end)
}

// callersErr is why a caller does not wait any more; nil if only a time-out has
// come, or nothing.
func callersErr(ctx context.Context) error {
	if c, ok := ctx.(*timedContext); ok {
		ctx = c.Context
	}
	if late(ctx) {
		return context.DeadlineExceeded // also before its timer is
	}
	return ctx.Err()
}
