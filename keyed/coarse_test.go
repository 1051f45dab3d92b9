package keyed_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/keyed"
)

// TestCoarseReadingsOnlyGrant has a coarse clock that is not refreshed within
// the test, but by those who would refuse.
func TestCoarseReadingsOnlyGrant(t *testing.T) {
	verbs := map[string]func(l *keyed.Limiter[int], key int) bool{
		"Allow": (*keyed.Limiter[int]).Allow,
		"Take":  func(l *keyed.Limiter[int], key int) bool { return l.Take(key, 1).Allowed },
		"Peek":  func(l *keyed.Limiter[int], key int) bool { return l.Peek(key, 1).Allowed },
		"Wait": func(l *keyed.Limiter[int], key int) bool {
			ctx, cancel := context.WithTimeout(context.Background(), 1)
			defer cancel()
			return l.Wait(ctx, key) == nil
		},
	}
	for _, k := range allKinds() {
		for name, verb := range verbs {
			// A late reading finds no place for a new key either.
			t.Run(k.name+"/"+name+"/new", func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					coarse := clock.NewCoarse(24 * time.Hour)
					defer coarse.Close()
					l := keyed.MustNew[int](k.config(3, time.Second, coarse), keyed.Options{MaxKeys: 1})
					l.AllowN(1, 3)
					if verb(l, 2) {
						t.Errorf("%s admits a key for which there is no place", name)
					}
					time.Sleep(3 * time.Second)
					if !verb(l, 2) {
						t.Errorf("%s finds no place for a late reading", name)
					}
				})
			})
			t.Run(k.name+"/"+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					coarse := clock.NewCoarse(24 * time.Hour)
					defer coarse.Close()
					l := keyed.MustNew[int](k.config(3, time.Second, coarse), keyed.Options{MaxKeys: 1})
					l.AllowN(1, 3)
					if verb(l, 1) || verb(l, 2) {
						t.Errorf("%s admits what is not there", name)
					}
					late := coarse.Now()
					time.Sleep(3 * time.Second)
					if coarse.Now() != late {
						t.Fatal("the coarse clock is not late")
					}
					if !verb(l, 1) {
						t.Errorf("%s refuses for a late reading", name)
					}
				})
			})
		}
	}
}
