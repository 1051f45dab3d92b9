// Package fifo is the line in front of a limiter: it serves those who wait in
// order of arrival.
//
// Only the first in line sleeps on the clock and asks for admission; the others
// sleep until they are first. Nothing is reserved for anybody, so a waiter that
// gives up is unlinked and leaves nothing behind.
package fifo

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

var (
	// ErrWouldExceedDeadline wraps context.DeadlineExceeded.
	ErrWouldExceedDeadline = fmt.Errorf("ratelimit: the wait would exceed the deadline: %w", context.DeadlineExceeded)

	// ErrQueueFull is returned where a line has no room.
	ErrQueueFull = errors.New("ratelimit: no room in line")
)

// Queue is a line of waiters. The zero Queue is an empty line.
type Queue struct {
	length atomic.Int64 // waiters in line; written with mu held
	events atomic.Int64 // what they wait for in all, or MaxInt64; written with mu held

	mu          sync.Mutex
	first, last *waiter
}

// waiter is a link of the line. Queue.mu guards its fields.
type waiter struct {
	prev, next *waiter
	events     int64         // counted in Queue.events
	first      chan struct{} // closed once the waiter is first in line
	wake       func()        // ends the sleep of the first in line
}

// Request is what a waiter asks of its limiter.
type Request struct {
	// Events is how many events wait to be admitted together.
	Events int

	// Room is the number of events there may be in line if that is not
	// empty; 0 means any number.
	Room int

	// Serve admits the events of the first in line if that is possible now;
	// if not, it tells the wait after which it may be.
	Serve func(events int) (wait time.Duration, admitted bool)

	// Delay is a lower bound on the wait for events that have others ahead.
	Delay func(ahead, events int) time.Duration

	// Sleep sleeps on the limiter's clock.
	Sleep func(ctx context.Context, d time.Duration) error
}

// Empty reports whether nobody waits. Whoever sees an empty line may take what
// is there: one who joins the line at the same time has not arrived first.
func (q *Queue) Empty() bool { return q.length.Load() == 0 }

// Ahead is how many events those in line wait for; 0 if nobody does. One that is
// being served counts until it has left.
func (q *Queue) Ahead() int {
	if q.Empty() {
		return 0
	}
	return q.ahead()
}

func (q *Queue) ahead() int {
	// Somebody was in line, even if not any more.
	return int(max(1, min(q.events.Load(), math.MaxInt)))
}

// Last is how many events the last in line waits for; 0 if nobody does.
func (q *Queue) Last() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.last == nil {
		return 0
	}
	return int(q.last.events)
}

// Wake makes the first in line ask again. It must be called after every change
// of the limiter's state that admits sooner than was said.
func (q *Queue) Wake() {
	if q.Empty() {
		// A waiter joins the line before it asks. One that this load does not
		// see will therefore ask after the change that precedes this call.
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.first != nil {
		q.first.wake()
	}
}

// Wait joins the line and returns nil once the request is admitted. On an error
// nothing has been admitted.
func (q *Queue) Wait(ctx context.Context, r Request) error {
	w, ahead, err := q.join(r)
	if err != nil {
		return err
	}
	defer q.leave(w)
	if ahead > 0 {
		err := inTime(ctx, r.Delay(ahead, r.Events))
		select {
		case <-w.first: // those ahead have left meanwhile
		default:
			if err != nil {
				return err
			}
		}
		select {
		case <-w.first:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		// A change of the state from here on ends the sleep below.
		asleep, wake := context.WithCancel(ctx)
		q.mu.Lock()
		w.wake = wake
		q.mu.Unlock()

		wait, admitted := r.Serve(r.Events)
		if admitted {
			wake()
			return nil
		}
		err := inTime(ctx, wait)
		if err == nil {
			err = r.Sleep(asleep, wait)
		}
		woken := asleep.Err() != nil
		wake()
		if err != nil && !woken {
			return err
		}
	}
}

// inTime returns an error unless the context's deadline comes after the end of
// the wait. At the deadline itself the context is done.
func inTime(ctx context.Context, wait time.Duration) error {
	deadline, ok := ctx.Deadline()
	if !ok {
		return nil
	}
	if left := max(time.Until(deadline), 0); left <= wait {
		return fmt.Errorf("%w: %v to wait, %v left", ErrWouldExceedDeadline, wait, left)
	}
	return nil
}

// join links a new waiter to the end of the line and returns how many events
// are ahead of it.
func (q *Queue) join(r Request) (w *waiter, ahead int, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	ahead = q.Ahead()
	if r.Room > 0 && q.last != nil && r.Events > r.Room-ahead {
		return nil, 0, fmt.Errorf("%w: %d events wait, n is %d, there is room for %d", ErrQueueFull, ahead, r.Events, r.Room)
	}
	w = &waiter{prev: q.last, first: make(chan struct{}), wake: func() {}}
	w.events = min(int64(r.Events), math.MaxInt64-q.events.Load()) // a sum that does not overflow
	if q.last == nil {
		q.first = w
		close(w.first)
	} else {
		q.last.next = w
	}
	q.last = w
	q.events.Add(w.events)
	q.length.Add(1)
	return w, ahead, nil
}

// leave unlinks a waiter, wherever in line it is.
func (q *Queue) leave(w *waiter) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if w.next != nil {
		w.next.prev = w.prev
	} else {
		q.last = w.prev
	}
	if w.prev != nil {
		w.prev.next = w.next
	} else {
		q.first = w.next
		if w.next != nil {
			close(w.next.first)
		}
	}
	q.events.Add(-w.events)
	q.length.Add(-1)
}
