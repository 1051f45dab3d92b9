package keyed

import (
	"context"
	"time"

	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/clock"
)

// Key returns the limiter of one key, for what takes a [ratelimit.Limiter]. It
// is also a [ratelimit.Refunder] and a [ratelimit.Resetter], so that several
// limits of a key can be made one:
//
//	ratelimit.All(perSecond.Key(client), perHour.Key(client)).Allow()
//
// It holds nothing but the key and l, and may be made anew for each call.
func (l *Limiter[K]) Key(k K) ratelimit.Limiter { return ofKey[K]{l, k} }

type ofKey[K comparable] struct {
	l *Limiter[K]
	k K
}

func (o ofKey[K]) Allow() bool                            { return o.l.Allow(o.k) }
func (o ofKey[K]) AllowN(n int) bool                      { return o.l.AllowN(o.k, n) }
func (o ofKey[K]) Take(n int) ratelimit.Decision          { return o.l.Take(o.k, n) }
func (o ofKey[K]) Peek(n int) ratelimit.Decision          { return o.l.Peek(o.k, n) }
func (o ofKey[K]) Wait(ctx context.Context) error         { return o.l.Wait(ctx, o.k) }
func (o ofKey[K]) WaitN(ctx context.Context, n int) error { return o.l.WaitN(ctx, o.k, n) }
func (o ofKey[K]) Refund(d ratelimit.Decision)            { o.l.Refund(o.k, d) }
func (o ofKey[K]) Reset()                                 { o.l.Forget(o.k) }
func (o ofKey[K]) Clock() clock.Clock                     { return o.l.clock }

// Delay is the RetryAfter of a Take of n, if events that wait elsewhere were
// ahead of it besides those in line here. [ratelimit.All] asks for it.
func (o ofKey[K]) Delay(ahead, n int) time.Duration {
	var p place[K]
	o.l.find(o.k, &p)
	line := p.shard.ahead(&p)
	// A sum that overflows is less than either.
	line.Events = max(ahead, line.Here, ahead+line.Here)
	d, answer := o.l.take(&p, n, line, peek)
	if answer == full && o.l.keys.share {
		p = o.l.shared()
		d, _ = o.l.take(&p, n, line, peek)
	}
	return d.RetryAfter
}
