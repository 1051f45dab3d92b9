package redislimit

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A time-out comes between seven eighths of the time and the whole; what is the
// caller's comes as it would have.
func TestTimeouts(t *testing.T) {
	const after = 800 * time.Millisecond
	background := context.Background()
	for name, caller := range map[string]func() (context.Context, context.CancelFunc){
		"background": func() (context.Context, context.CancelFunc) { return background, func() {} },
		"cancelable": func() (context.Context, context.CancelFunc) { return context.WithCancel(background) },
		"patient":    func() (context.Context, context.CancelFunc) { return context.WithTimeout(background, time.Hour) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				timeouts := timeouts{after: after}
				var all sync.WaitGroup
				for range 40 {
					ctx, cancel := caller()
					begun := time.Now()
					timed, stop := timeouts.within(ctx)
					if same, _ := timeouts.within(timed); same != timed {
						t.Error("a time-out in a time-out")
					}
					if deadline, ok := timed.Deadline(); !ok || deadline.Sub(begun) > after || deadline.Sub(begun) < after*7/8 {
						t.Errorf("the deadline is in %v", deadline.Sub(begun))
					}
					if timed.Err() != nil {
						t.Error(timed.Err())
					}
					all.Go(func() {
						defer cancel()
						defer stop()
						<-timed.Done()
						if took := time.Since(begun); took > after || took < after*7/8 {
							t.Errorf("it comes after %v", took)
						}
						if timed.Err() != context.DeadlineExceeded || callersErr(timed) != nil {
							t.Errorf("Err is %v, and the caller's %v", timed.Err(), callersErr(timed))
						}
					})
					time.Sleep(37 * time.Millisecond)
				}
				all.Wait()
			})
		})
	}
	t.Run("bubble", func(t *testing.T) {
		timeouts := timeouts{after: after}
		timeouts.within(background) // of the time outside
		synctest.Test(t, func(t *testing.T) {
			begun := time.Now()
			timed, stop := timeouts.within(background)
			defer stop()
			<-timed.Done()
			if took := time.Since(begun); took != after {
				t.Errorf("it comes after %v", took)
			}
		})
	})
	t.Run("impatient", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			timeouts := timeouts{after: after}
			begun := time.Now()
			ctx, cancel := context.WithTimeout(background, after/2)
			defer cancel()
			timed, stop := timeouts.within(ctx)
			defer stop()
			if deadline, _ := timed.Deadline(); !deadline.Equal(begun.Add(after / 2)) {
				t.Errorf("the deadline is in %v", deadline.Sub(begun))
			}
			<-timed.Done()
			if time.Since(begun) != after/2 || callersErr(timed) != context.DeadlineExceeded {
				t.Errorf("after %v the caller's error is %v", time.Since(begun), callersErr(timed))
			}
		})
	})
	t.Run("canceled", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			timeouts := timeouts{after: after}
			ctx, cancel := context.WithCancel(background)
			timed, stop := timeouts.within(ctx)
			defer stop()
			other, stopOther := timeouts.within(background)
			defer stopOther()
			cancel()
			<-timed.Done()
			if !errors.Is(timed.Err(), context.Canceled) || callersErr(timed) != context.Canceled {
				t.Errorf("Err is %v, and the caller's %v", timed.Err(), callersErr(timed))
			}
			if other.Err() != nil || callersErr(other) != nil {
				t.Errorf("that of another is %v, and the caller's %v", other.Err(), callersErr(other))
			}
		})
	})
}

// passed is a context whose deadline has passed, and whose timer is late.
type passed struct{ context.Context }

func (passed) Deadline() (time.Time, bool) { return time.Now(), true }

func TestCallersErr(t *testing.T) {
	background := context.Background()
	for _, tt := range []struct {
		ctx  context.Context
		want error
	}{
		{background, nil},
		{passed{background}, context.DeadlineExceeded},
		{&timedContext{background, passed{background}, time.Now()}, nil},
		{&timedContext{passed{background}, background, time.Now()}, context.DeadlineExceeded},
	} {
		if got := callersErr(tt.ctx); got != tt.want {
			t.Errorf("of %v: %v, want %v", tt.ctx, got, tt.want)
		}
	}
}
