package redislimit

import (
	"context"
	_ "embed"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/ratekeep/ratelimit"
)

// What runs on the server: the clock, the functions of the kinds of limits that a
// limiter has, and what calls them.
var (
	//go:embed clock.lua
	clockLua string
	//go:embed digits.lua
	digitsLua string
	//go:embed whole.lua
	wholeLua string
	//go:embed parts.lua
	partsLua string
	//go:embed fixed.lua
	fixedLua string
	//go:embed sliding.lua
	slidingLua string
	//go:embed log.lua
	logLua string
	//go:embed take.lua
	takeLua string
	//go:embed takeall.lua
	takeAllLua string
	//go:embed refund.lua
	refundLua string
)

// functions are what runs on the server for a kind of limit, to take, add and
// refund: their names end in its name. The lua has them and what they need.
type functions struct {
	name string
	lua  []string
}

var (
	wholeFunctions   = functions{"Whole", []string{wholeLua}}
	partsFunctions   = functions{"Parts", []string{digitsLua, partsLua}}
	fixedFunctions   = functions{"Fixed", []string{digitsLua, fixedLua}}
	slidingFunctions = functions{"Sliding", []string{digitsLua, slidingLua}}
	logFunctions     = functions{"Log", []string{logLua}}
)

// scripts are those of a limiter.
type scripts struct {
	take, refund *script
}

// reset is a script too, as clients differ in how they send other commands that
// have several keys.
var reset = newScript("return redis.call('UNLINK', unpack(KEYS))\n")

// newScripts returns the scripts for some limits, on a clock.
func newScripts(clock string, limits []limit) scripts {
	base := "local call = redis.call\n" + clock
	var has []string
	for _, l := range limits {
		for _, lua := range l.functions().lua {
			if !slices.Contains(has, lua) {
				has = append(has, lua)
			}
		}
	}
	base += strings.Join(has, "")
	// For each limit its functions, and where in ARGV its numbers begin.
	var take, add, refund, takeFrom, refundFrom []string
	took, refunded := 2, 1
	for _, l := range limits {
		name := l.functions().name
		take, add, refund = append(take, "take"+name), append(add, "add"+name), append(refund, "refund"+name)
		takeFrom = append(takeFrom, strconv.Itoa(took))
		refundFrom = append(refundFrom, strconv.Itoa(refunded))
		took += len(l.take(nil, 1, 0, false))
		refunded += len(l.refund(nil, ratelimit.Decision{}))
	}
	taking := "local take, add, from = " + table(take) + ", " + table(add) + ", " + table(takeFrom) + "\n" + takeAllLua
	if len(limits) == 1 {
		taking = "local take, add = " + take[0] + ", " + add[0] + "\n" + takeLua // the same, in less time
	}
	return scripts{
		newScript(base + taking),
		newScript(base + "local refund, from = " + table(refund) + ", " + table(refundFrom) + "\n" + refundLua),
	}
}

// table is a table in Lua.
func table(values []string) string { return "{" + strings.Join(values, ", ") + "}" }

// script is one that the server knows by its digest, or must be told.
type script struct {
	source, digest string
}

func newScript(source string) *script {
	return &script{source, redis.NewScript(source).Hash()}
}

// command is a script's call.
type command struct {
	*redis.Cmd
	script *script
}

// NoRetry has the client send a command once. It is read by the client, which
// otherwise sends it up to MaxRetries more times, also when it does not know
// whether the server has counted the first.
func (command) NoRetry() bool { return true }

// call returns the call of a script by its digest. Args are those of EVALSHA, of
// which the first three are filled in here.
func (s *script) call(ctx context.Context, keys int, args []any) *command {
	args[0], args[1], args[2] = "evalsha", s.digest, keys
	c := &command{redis.NewCmd(ctx, args...), s}
	c.SetFirstKeyPos(3)
	return c
}

// forgotten reports whether the server did not run the script because it does
// not know it.
func (c *command) forgotten() bool {
	err := c.Err()
	return err != nil && redis.HasErrorPrefix(err, "NOSCRIPT")
}

// whole is the same call with the script's source, by which the server learns it.
func (c *command) whole(ctx context.Context) *command {
	args := append([]any(nil), c.Args()...)
	args[0], args[1] = "eval", c.script.source
	w := &command{redis.NewCmd(ctx, args...), c.script}
	w.SetFirstKeyPos(3)
	return w
}

// send runs commands, each once, in one round trip, and tells of each in its own
// error how it went. Ctx has the time-out. If send returns an error there was no
// answer in time, and the commands must not be touched any more.
func (l *Limiter) send(ctx context.Context, commands []*command) error {
	if err := l.sendOnce(ctx, commands); err != nil {
		return err
	}
	var again []*command
	for i, c := range commands {
		if c.forgotten() {
			commands[i] = c.whole(ctx)
			again = append(again, commands[i])
		}
	}
	if again == nil {
		return nil
	}
	return l.sendOnce(ctx, again)
}

// sendOnce returns when ctx is done, whatever the client does.
func (l *Limiter) sendOnce(ctx context.Context, commands []*command) error {
	if l.bounded {
		l.process(ctx, commands)
		return nil
	}
	commands = slices.Clone(commands) // the caller may go on without an answer
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.process(ctx, commands)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// process has the client run commands. What goes wrong is in each of them.
func (l *Limiter) process(ctx context.Context, commands []*command) {
	if len(commands) == 1 {
		_ = l.client.Process(ctx, commands[0])
		return
	}
	pipe := l.client.Pipeline()
	for _, c := range commands {
		_ = pipe.Process(ctx, c)
	}
	_, _ = pipe.Exec(ctx)
}

// bounded reports whether a client returns when the context's deadline comes.
func bounded(client redis.UniversalClient) bool {
	switch c := client.(type) {
	case *redis.Client:
		return c.Options().ContextTimeoutEnabled
	case *redis.ClusterClient:
		return c.Options().ContextTimeoutEnabled
	case *redis.Ring:
		return c.Options().ContextTimeoutEnabled
	}
	return false
}

// keys are what a key's limits are called on the server. What is in braces is
// what a Cluster places them by; it is the same for all of them, and not empty.
func (l *Limiter) keys(args []any, key string) []any {
	for _, limit := range l.limits {
		args = append(args, "{"+l.options.Prefix+":"+key+"}"+l.space+limit.id())
	}
	return args
}

// question is what a script is asked.
type question struct {
	n     int
	ahead int  // how many events are in line before them
	take  bool // and not only peek
	paced bool // if all that went in before must have leaked out
}

// takeCommand is the script's call that answers a question.
func (l *Limiter) takeCommand(ctx context.Context, key string, q question) *command {
	args := l.keys(make([]any, 3, 3+len(l.limits)+len(l.one)), key)
	if q == takeOne {
		args = append(args, l.one...)
	} else {
		args = l.takeArgs(args, q)
	}
	return l.scripts.take.call(ctx, len(l.limits), args)
}

// takeOne is the most frequent question by far.
var takeOne = question{n: 1, take: true}

// takeArgs appends a question in the script's words.
func (l *Limiter) takeArgs(args []any, q question) []any {
	if q.take {
		args = append(args, 1)
	} else {
		args = append(args, 0)
	}
	n := q.n
	if !possible(n, l.most) {
		n = 0
	}
	for _, limit := range l.limits {
		args = limit.take(args, n, q.ahead, q.paced)
	}
	return args
}

// refundCommand is the script's call that undoes a decision.
func (l *Limiter) refundCommand(ctx context.Context, key string, d ratelimit.Decision) *command {
	if len(l.limits) > 1 {
		d.ResetAfter = 0 // it is that of one of them
	}
	args := l.keys(make([]any, 3, 3+len(l.limits)+len(l.one)), key)
	for _, limit := range l.limits {
		args = limit.refund(args, d)
	}
	return l.scripts.refund.call(ctx, len(l.limits), args)
}

// resetCommand is the call that makes a key fresh.
func (l *Limiter) resetCommand(ctx context.Context, key string) *command {
	return reset.call(ctx, len(l.limits), l.keys(make([]any, 3, 3+len(l.limits)), key))
}

// answer is what the server said to a question.
type answer struct {
	now    int64 // in microseconds since 1970
	states []state
}

// answer reads a reply. Its error is the server's.
func (c *command) answer(limits int) (a answer, err error) {
	words, err := c.Int64Slice()
	if err != nil {
		return a, err
	}
	if len(words) != 1+4*limits {
		return a, fmt.Errorf("redislimit: the server's answer has %d words, want %d", len(words), 1+4*limits)
	}
	a = answer{words[0], make([]state, limits)}
	for i := range a.states {
		a.states[i] = state(words[1+4*i:])
	}
	return a, nil
}

// decision is an answer in the Decision's words: those of the limit that refuses
// the longest, else of the one with the least remaining.
func (l *Limiter) decision(a answer, q question) (worst ratelimit.Decision) {
	for i, limit := range l.limits {
		s := a.states[i]
		d := ratelimit.Decision{N: q.n, At: duration(a.now), Limit: limit.most()}
		d.Allowed = q.n == 0 || possible(q.n, l.most) && q.ahead == 0 && s.admits()
		limit.answer(&d, s, a.now, q)
		if !d.Allowed && !possible(q.n, limit.most()) {
			d.RetryAfter = ratelimit.Never
		}
		if i == 0 || d.RetryAfter > worst.RetryAfter || d.RetryAfter == worst.RetryAfter && d.Remaining < worst.Remaining {
			worst = d
		}
	}
	return worst
}
