package redislimit

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/fixedwindow"
	"github.com/ratekeep/ratelimit/internal/limitertest"
	"github.com/ratekeep/ratelimit/leakybucket"
	"github.com/ratekeep/ratelimit/slidinglog"
	"github.com/ratekeep/ratelimit/slidingwindow"
	"github.com/ratekeep/ratelimit/tokenbucket"
)

// kind is one of the five, as this package has it, as the package of its name
// does, and as its model. A nanosecond of the two latter is a microsecond here.
type kind struct {
	name   string
	here   func(events int, window time.Duration, extra int) (limit, error)
	inside func(c clock.Clock, limit int, window time.Duration, extra int) limitertest.Refundable
	model  func(limit int, window time.Duration, extra int) limitertest.Model
	bound  func(limit int, window, from, to time.Duration) int
	rounds bool // whether the package of its name rounds the clock
}

// since1970 is a fake clock whose readings are times since 1970.
type since1970 struct{ *clock.Fake }

func (since1970) Epoch() time.Time { return time.Unix(0, 0) }

var kinds = []kind{
	{
		"tokenbucket",
		func(events int, window time.Duration, burst int) (limit, error) {
			return newBucket("t", false, events, window, burst, "Burst")
		},
		func(c clock.Clock, limit int, window time.Duration, burst int) limitertest.Refundable {
			return tokenbucket.MustNew(tokenbucket.Config{Limit: limit, Window: window, Burst: burst, Clock: c})
		},
		func(limit int, window time.Duration, burst int) limitertest.Model {
			return limitertest.NewTokenBucket(limit, window, burst)
		},
		limitertest.BucketBound,
		true,
	},
	{
		"leakybucket",
		func(events int, window time.Duration, capacity int) (limit, error) {
			return newBucket("q", true, events, window, capacity, "Capacity")
		},
		func(c clock.Clock, limit int, window time.Duration, capacity int) limitertest.Refundable {
			return leakybucket.MustNew(leakybucket.Config{Limit: limit, Window: window, Capacity: capacity, Clock: c})
		},
		func(limit int, window time.Duration, capacity int) limitertest.Model {
			return limitertest.NewLeakyBucket(limit, window, capacity)
		},
		limitertest.BucketBound,
		true,
	},
	{
		"fixedwindow",
		func(events int, window time.Duration, offset int) (limit, error) {
			return newFixed(events, window, time.Duration(offset)*time.Microsecond)
		},
		func(c clock.Clock, limit int, window time.Duration, offset int) limitertest.Refundable {
			return fixedwindow.MustNew(fixedwindow.Config{Limit: limit, Window: window, Offset: time.Duration(offset), Clock: c})
		},
		func(limit int, window time.Duration, offset int) limitertest.Model {
			return limitertest.NewFixedWindow(limit, window, time.Duration(offset), time.Unix(0, 0))
		},
		func(limit int, window, from, to time.Duration) int {
			return limitertest.AlignedBound(limit, window, 0, from, to)
		},
		false,
	},
	{
		"slidingwindow",
		func(events int, window time.Duration, _ int) (limit, error) { return newSliding(events, window), nil },
		func(c clock.Clock, limit int, window time.Duration, _ int) limitertest.Refundable {
			return slidingwindow.MustNew(slidingwindow.Config{Limit: limit, Window: window, Clock: c})
		},
		func(limit int, window time.Duration, _ int) limitertest.Model {
			return limitertest.NewSlidingWindow(limit, window, time.Unix(0, 0))
		},
		func(limit int, window, from, to time.Duration) int {
			return limitertest.AlignedBound(limit, window, 0, from, to)
		},
		false,
	},
	{
		"slidinglog",
		func(events int, window time.Duration, _ int) (limit, error) { return newLog(events, window), nil },
		func(c clock.Clock, limit int, window time.Duration, _ int) limitertest.Refundable {
			return slidinglog.MustNew(slidinglog.Config{Limit: limit, Window: window, Clock: c})
		},
		func(limit int, window time.Duration, _ int) limitertest.Model {
			return limitertest.NewSlidingLog(limit, window)
		},
		limitertest.TrailingBound,
		false,
	},
}

// on returns a limiter with one limit that asks a server on a test's time.
func (k kind) on(client redis.UniversalClient, prefix string, events int, window time.Duration, extra int) (*Limiter, error) {
	of, err := k.here(events, window, extra)
	if err != nil {
		return nil, err
	}
	o, err := Options{Prefix: prefix, Refusals: NoRefusals, Timeout: time.Minute}.complete(of.most())
	if err != nil {
		return nil, err
	}
	l, err := (&Limiter{client: client, clock: clock.System(), options: o}).complete([]limit{of}, k.name == "leakybucket", nil)
	if err != nil {
		return nil, err
	}
	l.bounded = true
	l.scripts = newScripts(onTestTime, l.limits)
	return l, nil
}

// micro is a decision of an inside limiter or a model, in our unit.
func micro(d ratelimit.Decision) ratelimit.Decision {
	for _, p := range []*time.Duration{&d.At, &d.RetryAfter, &d.ResetAfter} {
		if *p != ratelimit.Never {
			*p *= 1000
		}
	}
	return d
}

// The Lua decides as its model does, and as the package of its name does: the
// same in every field, on long random scripts.
func TestDecidesAsTheModel(t *testing.T) {
	server := shared(t)
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			random := rand.New(rand.NewPCG(1, 2))
			for game := range 400 {
				k.play(t, random, game, server)
			}
		})
	}
}

// play plays a random script on a limiter, its model, and the one inside.
func (k kind) play(t *testing.T, random *rand.Rand, game int, server *redis.Client) {
	powers := game%3 == 0 // so that the one inside rounds nothing, whatever it is
	window := 1 + random.Int64N(1<<(1+random.IntN(48)))
	events := 1 + random.Int64N(min(window, 1<<(1+random.IntN(24))))
	if powers {
		window = 1 << (10 + random.IntN(30))
		events = 1 << random.IntN(10)
	}
	extra := 0
	if k.name != "slidingwindow" && k.name != "slidinglog" && random.IntN(2) == 0 {
		extra = 1 + random.IntN(int(2*events))
	}
	fake := clock.NewFake()
	now := func() int64 { return int64(fake.Now()) }
	l, err := k.on(&timed{now: now, send: sendTimed(server)}, fmt.Sprintf("%s %d", t.Name(), game), int(events), time.Duration(window)*time.Microsecond, extra)
	if err != nil {
		t.Fatal(err)
	}
	fake.Set(time.Duration(farFuture + random.Int64N(1<<40)))
	if k.name == "slidinglog" && random.IntN(2) == 0 {
		// As it is after some 2^52 events.
		if err := server.RPush(context.Background(), l.keys(nil, "key")[0].(string), 0, 1<<52-1-random.Int64N(2*events)).Err(); err != nil {
			t.Fatal(err)
		}
	}
	inside := k.inside(since1970{fake}, int(events), time.Duration(window), extra)
	model := k.model(int(events), time.Duration(window), extra)

	ctx, most := context.Background(), l.most
	played := []string{fmt.Sprintf("%d per %dus, extra %d", events, window, extra)}
	var taken []ratelimit.Decision
	var last ratelimit.Decision
	some := func() int {
		switch random.IntN(8) {
		case 0:
			return most
		case 1:
			return most + random.IntN(3) - 1
		case 2:
			return last.Remaining + random.IntN(2)
		case 3:
			return random.IntN(3) - 1
		}
		return 1 + random.IntN(min(most, 1<<random.IntN(20)))
	}
	defer func() {
		if k.name != "slidinglog" || t.Failed() {
			return
		}
		words, err := server.LRange(ctx, l.keys(nil, "key")[0].(string), 0, -1).Result()
		for i := 1; i < len(words); i += 2 {
			if total, _ := strconv.ParseInt(words[i], 10, 64); err != nil || total < 0 || total >= 1<<52 {
				t.Errorf("a log has the total %s, %v", words[i], err)
			}
		}
	}()
	for range 60 {
		n := some()
		var got, want, within ratelimit.Decision
		what := ""
		switch random.IntN(7) {
		case 0, 1, 2:
			what = fmt.Sprintf("Take(%d)", n)
			got, err = l.Take(ctx, "key", n)
			want, within = model.Take(fake.Now(), n), inside.Take(n)
			if got.Allowed && n > 0 {
				taken = append(taken, got)
			}
		case 3:
			what = fmt.Sprintf("Peek(%d)", n)
			got, err = l.Peek(ctx, "key", n)
			want, within = model.Peek(fake.Now(), n), inside.Peek(n)
		case 4:
			if len(taken) == 0 {
				continue
			}
			i := random.IntN(len(taken))
			d := taken[i]
			taken = append(taken[:i], taken[i+1:]...)
			played = append(played, fmt.Sprintf("Refund(%+v)", d))
			if err := l.Refund(ctx, "key", d); err != nil {
				t.Fatal(err)
			}
			d.At, d.RetryAfter, d.ResetAfter = d.At/1000, d.RetryAfter/1000, d.ResetAfter/1000
			model.Refund(fake.Now(), d)
			inside.Refund(d)
			continue
		default:
			step := random.Int64N(2 * window)
			switch random.IntN(6) {
			case 0:
				step = random.Int64N(window/events + 2)
			case 1:
				step = last.RetryAfter.Microseconds() - random.Int64N(2)
			case 2:
				step = last.ResetAfter.Microseconds() - random.Int64N(2)
			case 3:
				step = -random.Int64N(window + 1)
			}
			if k.name == "slidinglog" {
				step = max(step, 0) // it forgets when what was refunded was admitted
			}
			if last.RetryAfter == ratelimit.Never || step > 1<<50 {
				step = 1
			}
			fake.Set(fake.Now() + time.Duration(step))
			played = append(played, fmt.Sprintf("now = %d, by %d", now(), step))
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v\n\tafter %s", what, err, strings.Join(played, "\n\t"))
		}
		if got != micro(want) {
			t.Fatalf("%s = %+v,\n\tof the model %+v\n\tafter %s", what, got, micro(want), strings.Join(played, "\n\t"))
		}
		if (powers || !k.rounds) && got != micro(within) {
			t.Fatalf("%s = %+v,\n\tinside %+v\n\tafter %s", what, got, micro(within), strings.Join(played, "\n\t"))
		}
		played = append(played, fmt.Sprintf("%s = %+v", what, got))
		last = got
	}
}
