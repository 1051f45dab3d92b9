package redislimit

import (
	"context"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ratekeep/ratelimit/tokenbucket"
)

func BenchmarkTake(b *testing.B) {
	client := shared(b)
	ctx := context.Background()
	limiter := func(limit int, o Options) *Limiter {
		o.Prefix, o.Timeout = b.Name(), time.Minute
		l, err := New(tokenbucket.Config{Limit: limit, Window: time.Hour}, client, o)
		if err != nil {
			b.Fatal(err)
		}
		return l
	}
	granting := limiter(math.MaxInt32, Options{})
	leasing := limiter(math.MaxInt32, Options{Lease: 100})
	asking := limiter(1, Options{Refusals: NoRefusals})
	remembering := limiter(1, Options{})
	take := func(l *Limiter, allowed bool) func() error {
		l.Take(ctx, "key", 1)
		return func() error {
			d, err := l.Take(ctx, "key", 1)
			if err == nil && d.Allowed != allowed {
				err = fmt.Errorf("%+v", d)
			}
			return err
		}
	}
	for _, of := range []struct {
		name string
		call func() error
	}{
		{"ping", func() error { return client.Ping(ctx).Err() }},
		{"granted", take(granting, true)},
		{"leased", take(leasing, true)},
		{"refused", take(asking, false)},
		{"remembered", take(remembering, false)},
	} {
		for _, callers := range []int{1, 8, 64} {
			b.Run(fmt.Sprintf("path=%s/callers=%d", of.name, callers), func(b *testing.B) {
				var left atomic.Int64
				left.Store(int64(b.N))
				var all sync.WaitGroup
				for range callers {
					all.Go(func() {
						for left.Add(-1) >= 0 {
							if err := of.call(); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				all.Wait()
			})
		}
	}
}
