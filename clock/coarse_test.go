package clock

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestCoarseIsLateByAtMostTheResolution(t *testing.T) {
	for _, tt := range []struct{ resolution, want time.Duration }{
		{10 * time.Millisecond, 10 * time.Millisecond},
		{time.Second, time.Second},
		{1, 1},
		{0, time.Millisecond},
		{-1, time.Millisecond},
		{minTime, time.Millisecond},
	} {
		t.Run(tt.resolution.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(time.Hour) // not the bubble's beginning
				c := NewCoarse(tt.resolution)
				defer c.Close()
				start := time.Now()
				var latest time.Duration
				for i := range 100 {
					time.Sleep(max(tt.want/7, 1))
					synctest.Wait()
					now, real := c.Now(), time.Since(start)
					if late := real - now; late < 0 || late >= tt.want {
						t.Fatalf("reading %d is %v at %v: late by %v, want [0, %v)", i, now, real, late, tt.want)
					}
					latest = max(latest, real-now)
				}
				if want := tt.want / 7 * 6; latest < want {
					t.Errorf("no reading is later than %v, want %v: it is not coarse", latest, want)
				}
				if got, want := c.Epoch(), start.Round(0); !got.Equal(want) {
					t.Errorf("Epoch() = %v, want %v", got, want)
				}
			})
		})
	}
}

func TestCoarseRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewCoarse(time.Hour)
		defer c.Close()
		for _, at := range []time.Duration{1, 2, time.Minute, 59 * time.Minute} {
			time.Sleep(at - c.Now())
			if got := c.Now(); got == at {
				t.Fatalf("the clock reads %v before it is refreshed", got)
			}
			if got := c.Refresh(); got != at {
				t.Errorf("Refresh() = %v, want %v", got, at)
			}
			if got := c.Now(); got != at {
				t.Errorf("after Refresh, Now() = %v, want %v", got, at)
			}
		}
	})
}

// paused is a clock whose reading can be held up after it was taken.
type paused struct {
	*Fake
	read func(now time.Duration)
}

func (p *paused) Now() time.Duration {
	now := p.Fake.Now()
	p.read(now)
	return now
}

// TestLateRefreshDoesNotTurnTheClockBack holds up a refresh between its reading
// and its store, while another one overtakes it.
func TestLateRefreshDoesNotTurnTheClockBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		held := make(chan struct{})
		real := &paused{Fake: NewFake(), read: func(now time.Duration) {
			if now == 5 {
				<-held
			}
		}}
		c := &Coarse{real: real}
		real.Set(5)
		var late time.Duration
		go func() { late = c.Refresh() }()
		synctest.Wait()
		real.Set(10)
		if got := c.Refresh(); got != 10 {
			t.Errorf("Refresh() = %v, want 10ns", got)
		}
		close(held)
		synctest.Wait()
		if late != 10 {
			t.Errorf("the late Refresh() = %v, want 10ns", late)
		}
		if got := c.Now(); got != 10 {
			t.Errorf("after the late refresh Now() = %v, want 10ns", got)
		}
	})
}

func TestCoarseRefreshIsMonotonic(t *testing.T) {
	c := NewCoarse(time.Microsecond)
	defer c.Close()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			var last time.Duration
			for range 20_000 {
				refreshed := c.Refresh()
				now := c.Now()
				if refreshed < last || now < refreshed {
					t.Errorf("read %v, then %v from Refresh, then %v from Now", last, refreshed, now)
					return
				}
				last = now
			}
		})
	}
	wg.Wait()
}

func TestCoarseClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewCoarse(time.Millisecond)
		time.Sleep(10 * time.Millisecond)
		for range 3 {
			go c.Close()
		}
		c.Close()
		synctest.Wait()
		closed := c.Now()
		// A goroutine that still ran would be seen here, and one that were left
		// would keep the bubble from ending.
		time.Sleep(time.Hour)
		synctest.Wait()
		if got := c.Now(); got != closed {
			t.Errorf("closed at %v, the clock reads %v", closed, got)
		}
		if got, want := c.Refresh(), time.Hour+10*time.Millisecond; got != want {
			t.Errorf("Refresh() after Close = %v, want %v", got, want)
		}
		if err := c.Sleep(t.Context(), time.Second); err != nil {
			t.Errorf("Sleep after Close = %v", err)
		}
	})
}
