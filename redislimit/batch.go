package redislimit

import (
	"context"
	"errors"

	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/clock"
)

// Request is what is asked for one key of a [Limiter.Batch].
type Request struct {
	Key string
	N   int
}

// Batch takes for many keys in one round trip, or in one for each server of a
// Cluster that runs at the same time: the i-th decision is that of a Take of the
// i-th request. Each key is decided on its own, in order where one is named more
// than once. It takes from no lease. The error is the first there was; the
// decisions of the others are good.
func (l *Limiter) Batch(ctx context.Context, requests []Request) ([]ratelimit.Decision, error) {
	decisions := make([]ratelimit.Decision, len(requests))
	for i, r := range requests {
		decisions[i] = ratelimit.Decision{N: r.N, Limit: l.most}
	}
	if err := ctx.Err(); err != nil {
		return decisions, err
	}
	var (
		first     error
		asked     []int // the requests that the server is asked
		questions []question
		commands  []*command
	)
	note := func(i int, q question, d ratelimit.Decision, err error) {
		if err != nil && errors.Is(err, ErrUnavailable) {
			d, err = l.withoutServer(requests[i].Key, q, err)
		}
		decisions[i] = d
		if first == nil {
			first = err
		}
	}
	sent := clock.Refreshed(l.clock)
	var lets [breakersOfCluster]struct{ told, all bool }
	for i, r := range requests {
		ahead := l.lines.ahead(r.Key)
		q := question{n: r.N, ahead: ahead, take: ahead == 0 && possible(r.N, l.most)}
		if d, ok := l.recall(r.Key, q); ok {
			note(i, q, d, nil)
			continue
		}
		guard := l.guard(r.Key)
		b, let := &l.health.breakers[guard], &lets[guard]
		if !let.told {
			let.told, let.all = true, b.lets(sent, l.options.Cooldown)
		}
		if !let.all {
			note(i, q, decisions[i], l.tooSoon(b, sent))
			continue
		}
		asked, questions, commands = append(asked, i), append(questions, q), append(commands, l.takeCommand(ctx, r.Key, q))
	}
	if commands == nil {
		return decisions, first
	}
	ctx, stop := l.timeouts.within(ctx)
	defer stop()
	err := l.send(ctx, commands)
	heard := make([]ratelimit.Decision, len(asked))
	errs := make([]error, len(asked))
	var outcomes [breakersOfCluster]outcome // of each breaker, one
	for j, i := range asked {
		key := requests[i].Key
		var came outcome
		heard[j], came, errs[j] = l.hear(ctx, key, questions[j], sent, commands[j], false, err)
		guard := l.guard(key)
		outcomes[guard] = max(outcomes[guard], came)
	}
	for guard := range l.health.breakers {
		l.tell(ctx, &l.health.breakers[guard], outcomes[guard], sent)
	}
	for j, i := range asked {
		note(i, questions[j], heard[j], errs[j])
	}
	return decisions, first
}
