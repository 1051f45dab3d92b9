package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/go-redis/redis_rate/v10"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"github.com/ratekeep/ratelimit/fixedwindow"
	"github.com/ratekeep/ratelimit/leakybucket"
	"github.com/ratekeep/ratelimit/redislimit"
	"github.com/ratekeep/ratelimit/slidinglog"
	"github.com/ratekeep/ratelimit/slidingwindow"
	"github.com/ratekeep/ratelimit/tokenbucket"
)

// redisCallers are how many goroutines ask at once.
var redisCallers = []int{1, 8, 64}

// redisCall is something to measure on a server.
type redisCall struct {
	name string
	call func(ctx context.Context) error
	per  int // calls in a sample; more than one where reading the clock would count
}

// redisSamples are what was measured of a call, with some callers.
type redisSamples struct {
	calls   int
	elapsed time.Duration
	each    []time.Duration
}

// measureRedis prints what decisions cost that are made on a server.
func (o options) measureRedis(stdout, stderr io.Writer) error {
	ctx := context.Background()
	redis.SetLogger(&logging.VoidLogger{}) // what goes wrong is returned
	client := redis.NewClient(&redis.Options{Addr: o.redis, PoolSize: 64, ContextTimeoutEnabled: true, DialerRetries: 1})
	defer client.Close()
	if err := client.Ping(ctx).Err(); err != nil {
		return fmt.Errorf("-redis %s: %w", o.redis, err)
	}
	prefix := fmt.Sprintf("bench-%d", time.Now().UnixNano())
	calls, done, err := redisCalls(ctx, client, prefix)
	if err != nil {
		return err
	}
	defer done()

	// Many short slices, as the machine has moods that last.
	const rounds = 49
	slice := o.plan.budget / 1050
	samples := make(map[int][]redisSamples)
	bar := newProgress(stderr, "measuring "+o.redis, rounds*len(redisCallers)*len(calls))
	step := 0
	for round := range rounds {
		for _, callers := range redisCallers {
			if samples[callers] == nil {
				samples[callers] = make([]redisSamples, len(calls))
			}
			for i := range calls {
				i = (i + round) % len(calls)
				if err := samples[callers][i].add(ctx, calls[i], callers, slice); err != nil {
					bar.clear()
					return fmt.Errorf("%s: %w", calls[i].name, err)
				}
				step++
				bar.set(step)
			}
		}
	}
	bar.clear()
	for _, callers := range redisCallers {
		redisTable(callers, calls, samples[callers]).write(stdout)
	}
	bytes, err := redisBytes(ctx, client, prefix)
	if err != nil {
		return err
	}
	bytes.write(stdout)
	return nil
}

// redisCalls are what is measured: first PING, and then redis_rate.
func redisCalls(ctx context.Context, client *redis.Client, prefix string) (calls []redisCall, done func(), err error) {
	pipelined, err := client.AutoPipeline()
	if err != nil {
		return nil, nil, err
	}
	peer := redis_rate.NewLimiter(client)
	const key = "user:12345678"
	peerCall := func(key string, limit redis_rate.Limit) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := peer.Allow(ctx, prefix+key, limit)
			return err
		}
	}
	var limiters []*redislimit.Limiter
	ours := func(client redis.UniversalClient, name string, limit int, o redislimit.Options) func(context.Context) error {
		if err != nil {
			return nil
		}
		o.Prefix, o.Timeout = prefix+"-"+name, time.Minute
		var l *redislimit.Limiter
		if l, err = redislimit.New(tokenbucket.Config{Limit: limit, Window: 24 * time.Hour}, client, o); err != nil {
			return nil
		}
		limiters = append(limiters, l)
		return func(ctx context.Context) error {
			_, err := l.Take(ctx, key, 1)
			return err
		}
	}
	const plenty = 86_400_000_000
	none := redislimit.Options{Refusals: redislimit.NoRefusals}
	calls = []redisCall{
		{"PING", func(ctx context.Context) error { return client.Ping(ctx).Err() }, 1},
		{"redis_rate, granted", peerCall("granted", redis_rate.Limit{Rate: 1_000_000, Burst: 1_000_000_000, Period: time.Second}), 1},
		{"redislimit, granted", ours(client, "granted", plenty, none), 1},
		{"… by AutoPipeline", ours(pipelined, "pipelined", plenty, none), 1},
		{"… of leases of 100", ours(client, "leased", plenty, redislimit.Options{Lease: 100}), 100},
		{"redis_rate, refused", peerCall("refused", redis_rate.Limit{Rate: 1, Burst: 1, Period: 24 * time.Hour}), 1},
		{"redislimit, refused", ours(client, "refused", 1, none), 1},
		{"… and remembered", ours(client, "remembered", 1, redislimit.Options{}), 100},
	}
	done = func() {
		for _, l := range limiters {
			l.Reset(ctx, key)
		}
		peer.Reset(ctx, prefix+"granted")
		peer.Reset(ctx, prefix+"refused")
		pipelined.Close()
	}
	return calls, done, err
}

// add measures a call for a while, with some callers at once.
func (s *redisSamples) add(ctx context.Context, c redisCall, callers int, slice time.Duration) error {
	if err := c.call(ctx); err != nil {
		return err
	}
	var (
		mu    sync.Mutex
		first error
		all   sync.WaitGroup
	)
	begun := time.Now()
	for range callers {
		all.Go(func() {
			var each []time.Duration
			var err error
			for last := begun; err == nil; {
				for i := 0; i < c.per && err == nil; i++ {
					err = c.call(ctx)
				}
				now := time.Now()
				each = append(each, now.Sub(last)/time.Duration(c.per))
				if last = now; last.Sub(begun) >= slice {
					break
				}
			}
			mu.Lock()
			defer mu.Unlock()
			s.calls += len(each) * c.per
			s.each = append(s.each, each...)
			first = cmp.Or(first, err)
		})
	}
	all.Wait()
	s.elapsed += time.Since(begun)
	return first
}

func (s *redisSamples) perSecond() float64 { return float64(s.calls) / s.elapsed.Seconds() }

// at is the latency that so much of the samples do not exceed.
func (s *redisSamples) at(part float64) time.Duration {
	return s.each[min(int(part*float64(len(s.each))), len(s.each)-1)]
}

// redisTable is what was measured with some callers.
func redisTable(callers int, calls []redisCall, samples []redisSamples) table {
	t := table{
		Title: fmt.Sprintf("Decisions on a server, %s", plural(callers, "caller")),
		Head:  []string{"", "per second", "p50", "p90", "p99", "p99.9", "max", "p50 ÷ PING", "× redis_rate "},
	}
	if callers == redisCallers[len(redisCallers)-1] {
		t.Note = "Latencies are in microseconds. What is handed out of a lease or remembered is timed a hundred calls at a time. " +
			"× redis_rate is how many times as many decisions of that kind are made per second."
	}
	for i := range samples {
		slices.Sort(samples[i].each)
	}
	for i := range samples {
		s := &samples[i]
		row := []string{calls[i].name, fmt.Sprintf("%.0f", s.perSecond())}
		for _, part := range []float64{0.5, 0.9, 0.99, 0.999, 1} {
			row = append(row, fmt.Sprintf("%.1f", float64(s.at(part))/float64(time.Microsecond)))
		}
		peer := "–"
		switch {
		case i >= 5:
			peer = fmt.Sprintf("%.2f", s.perSecond()/samples[5].perSecond())
		case i >= 1:
			peer = fmt.Sprintf("%.2f", s.perSecond()/samples[1].perSecond())
		}
		t.Rows = append(t.Rows, append(row, fmt.Sprintf("%.2f", float64(s.at(0.5))/float64(samples[0].at(0.5))), peer))
	}
	return t
}

// redisBytes is how much memory a key takes on the server.
func redisBytes(ctx context.Context, client *redis.Client, prefix string) (table, error) {
	t := table{
		Title: "Bytes per key on the server (MEMORY USAGE), of 100 per minute",
		Head:  []string{"", "1 event", "10 events", "100 events "},
		Note:  "The key is user:12345678; the names of what is stored for it count too.",
	}
	o := redislimit.Options{Timeout: time.Minute}
	const limit, window, key = 100, time.Minute, "user:12345678"
	type take func(ctx context.Context, key string, n int) error
	var makers = []struct {
		name string
		make func(o redislimit.Options) (*redislimit.Limiter, error)
	}{
		{"tokenbucket", func(o redislimit.Options) (*redislimit.Limiter, error) {
			return redislimit.New(tokenbucket.Config{Limit: limit, Window: window}, client, o)
		}},
		{"leakybucket", func(o redislimit.Options) (*redislimit.Limiter, error) {
			return redislimit.New(leakybucket.Config{Limit: limit, Window: window}, client, o)
		}},
		{"fixedwindow", func(o redislimit.Options) (*redislimit.Limiter, error) {
			return redislimit.New(fixedwindow.Config{Limit: limit, Window: window}, client, o)
		}},
		{"slidingwindow", func(o redislimit.Options) (*redislimit.Limiter, error) {
			return redislimit.New(slidingwindow.Config{Limit: limit, Window: window}, client, o)
		}},
		{"slidinglog", func(o redislimit.Options) (*redislimit.Limiter, error) {
			return redislimit.New(slidinglog.Config{Limit: limit, Window: window}, client, o)
		}},
	}
	// What was stored last is all that has this prefix.
	usage := func(pattern string) (string, error) {
		keys, err := client.Keys(ctx, pattern).Result()
		if err != nil || len(keys) != 1 {
			return "", fmt.Errorf("%d keys are like %s: %w", len(keys), pattern, err)
		}
		bytes, err := client.MemoryUsage(ctx, keys[0]).Result()
		return fmt.Sprint(bytes), err
	}
	measure := func(name, pattern string, one take) error {
		row := []string{name}
		taken := 0
		for _, events := range []int{1, 10, 100} {
			for ; taken < events; taken++ {
				if err := one(ctx, key, 1); err != nil {
					return err
				}
			}
			bytes, err := usage(pattern)
			if err != nil {
				return err
			}
			row = append(row, bytes)
		}
		t.Rows = append(t.Rows, row)
		return nil
	}
	for i, m := range makers {
		// As long as the default, and of this run.
		o.Prefix = fmt.Sprintf("%s%d", prefix[len(prefix)-8:], i)
		l, err := m.make(o)
		if err != nil {
			return t, err
		}
		err = measure(m.name, "{"+o.Prefix+":*", func(ctx context.Context, key string, n int) error {
			_, err := l.Take(ctx, key, n)
			return err
		})
		l.Reset(ctx, key)
		if err != nil {
			return t, err
		}
	}
	peer := redis_rate.NewLimiter(client)
	own := prefix[len(prefix)-4:] + key
	err := measure("redis_rate", "rate:"+own, func(ctx context.Context, _ string, n int) error {
		_, err := peer.AllowN(ctx, own, redis_rate.PerMinute(limit), n)
		return err
	})
	peer.Reset(ctx, own)
	return t, err
}
