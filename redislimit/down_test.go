package redislimit

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/fixedwindow"
	"github.com/ratekeep/ratelimit/tokenbucket"
)

// proxy stands between a client and a server, and can block what it forwards.
type proxy struct {
	listener net.Listener
	server   string

	mu       sync.Mutex
	free     *sync.Cond
	requests bool // whether those are blocked
	replies  bool // whether those are
	cut      bool // whether the next reply of a script is lost with its connection
}

func newProxy(t testing.TB, server string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, server: server}
	p.free = sync.NewCond(&p.mu)
	t.Cleanup(func() {
		l.Close()
		p.set(false, false, false)
	})
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go p.serve(c)
		}
	}()
	return p
}

func (p *proxy) addr() string { return p.listener.Addr().String() }

// set blocks requests or replies, or has the next reply of a script lost.
func (p *proxy) set(requests, replies, cut bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.requests, p.replies, p.cut = requests, replies, cut
	p.free.Broadcast()
}

func (p *proxy) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", p.server)
	if err != nil {
		return
	}
	defer server.Close()
	var cut atomic.Bool
	go p.copy(server, client, &p.requests, func(request []byte) bool {
		if p.cut && bytes.Contains(request, []byte("evalsha")) {
			p.cut = false
			cut.Store(true)
		}
		return false
	})
	p.copy(client, server, &p.replies, func([]byte) bool { return cut.Load() })
}

// copy forwards what comes, unless it is blocked, until that is lost. It calls lost
// with mu held.
func (p *proxy) copy(to, from net.Conn, blocked *bool, lost func([]byte) bool) {
	defer to.Close()
	buffer := make([]byte, 1<<16)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		p.mu.Lock()
		for *blocked {
			p.free.Wait()
		}
		end := lost(buffer[:n])
		p.mu.Unlock()
		if end {
			return
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// The three choices, while the server is killed in the middle of traffic and
// started again: what callers get, that they get it in time, that the server's
// decisions are used again without anybody's doing, and that nothing is counted
// twice. The server keeps its state over its death.
func TestServerIsKilled(t *testing.T) {
	const limit = 1_000_000
	config := fixedwindow.Config{Limit: limit, Window: 3660 * 24 * time.Hour}
	for _, tt := range []struct {
		options Options
		down    func(d ratelimit.Decision, err error) bool // what is promised
	}{
		{Options{WhenDown: Refuse}, func(d ratelimit.Decision, err error) bool {
			return !d.Allowed && errors.Is(err, ErrUnavailable) && d.RetryAfter > 0
		}},
		{Options{WhenDown: Admit}, func(d ratelimit.Decision, err error) bool { return d.Allowed && err == nil }},
		{Options{WhenDown: Fallback, Share: limit / 10}, func(d ratelimit.Decision, err error) bool {
			return err == nil && d.Limit == 10
		}},
	} {
		t.Run(tt.options.WhenDown.String(), func(t *testing.T) {
			t.Parallel()
			s := newServer(t, "--appendonly", "yes", "--appendfsync", "always")
			ctx := context.Background()
			tt.options.Cooldown = 5 * time.Millisecond
			tt.options.Timeout = 10 * time.Second
			l, err := New(config, s.client(t), tt.options)
			if err != nil {
				t.Fatal(err)
			}
			var byServer, elsewhere, local atomic.Int64
			stop := make(chan struct{})
			var all sync.WaitGroup
			for range 8 {
				all.Go(func() {
					for {
						select {
						case <-stop:
							return
						default:
						}
						d, err := l.Take(ctx, "key", 1)
						switch {
						case err == nil && decidedByServer(d):
							if !d.Allowed {
								t.Errorf("the server refuses: %+v", d)
							}
							byServer.Add(1)
						case tt.down(d, err):
							elsewhere.Add(1)
							if d.Allowed {
								local.Add(1)
							}
						default:
							t.Errorf("without the server: %+v, %v", d, err)
							return
						}
					}
				})
			}
			for range 3 {
				before := byServer.Load()
				eventually(t, "the server decides", func() bool { return byServer.Load() > before+100 })
				s.kill()
				before = elsewhere.Load()
				eventually(t, "decisions are made without it", func() bool { return elsewhere.Load() > before+100 })
				if l.Err() == nil {
					t.Error("Err is nil while the server is away")
				}
				s.start(t)
			}
			before := byServer.Load()
			eventually(t, "the server decides again", func() bool { return byServer.Load() > before+100 })
			close(stop)
			all.Wait()

			// Of the calls that were under way when it died, at most 8 each
			// time, the server may have counted some.
			var d ratelimit.Decision
			eventually(t, "the server decides", func() bool {
				d, err = l.Peek(ctx, "key", 0)
				return err == nil && l.Err() == nil
			})
			if counted := int64(limit - d.Remaining); counted < byServer.Load() || counted > byServer.Load()+3*8 {
				t.Errorf("the server counts %d, and admitted %d", counted, byServer.Load())
			}
			if tt.options.WhenDown == Fallback && local.Load() != 10 {
				t.Errorf("the fallback admits %d of a share of 10", local.Load())
			}
		})
	}
}

// A call of which the answer is lost is not made a second time, although the
// client is told to retry.
func TestNothingIsCountedTwice(t *testing.T) {
	ctx := context.Background()
	server := newServer(t)
	p := newProxy(t, server.addr())
	for _, name := range []string{"bounded", "unbounded", "pipelined"} {
		t.Run(name, func(t *testing.T) {
			single := redis.NewClient(&redis.Options{Addr: p.addr(), MaxRetries: 5, ContextTimeoutEnabled: name == "bounded"})
			defer single.Close()
			var client redis.UniversalClient = single
			if name == "pipelined" {
				pipelined, err := single.AutoPipeline()
				if err != nil {
					t.Fatal(err)
				}
				defer pipelined.Close()
				client = pipelined
			}
			l, err := New(fixedwindow.Config{Limit: 1000, Window: 3660 * 24 * time.Hour}, client, Options{Prefix: t.Name(), Timeout: time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			take(t, l, "key", 1)
			lose := func(call func() error) {
				t.Helper()
				// On a connection that is there already, or nothing is sent.
				eventually(t, "the server answers", func() bool {
					_, err := l.Peek(ctx, "key", 0)
					return err == nil
				})
				p.set(false, false, true)
				if err := call(); !errors.Is(err, ErrUnavailable) {
					t.Errorf("without an answer: %v", err)
				}
				p.set(false, false, false)
			}
			lose(func() error {
				_, err := l.Take(ctx, "key", 1)
				return err
			})
			lose(func() error {
				_, err := l.Batch(ctx, []Request{{"key", 1}, {"key", 1}})
				return err
			})
			var d ratelimit.Decision
			eventually(t, "the server answers", func() bool {
				d, err = l.Peek(ctx, "key", 0)
				return err == nil
			})
			if used := 1000 - d.Remaining; used != 4 {
				t.Errorf("of 4 events, 3 without an answer, the server counts %d", used)
			}
		})
	}
}

// A connection on which nothing comes back holds up nobody for longer than the
// time-out; after three such calls nobody is held up, and a call is let through
// now and then until one is answered.
func TestBlockedConnection(t *testing.T) {
	ctx := context.Background()
	server := newServer(t)
	for name, bounded := range map[string]bool{"bounded": true, "unbounded": false} {
		for _, requests := range []bool{true, false} {
			what := name + "/replies"
			if requests {
				what = name + "/requests"
			}
			t.Run(what, func(t *testing.T) {
				p := newProxy(t, server.addr())
				client := redis.NewClient(&redis.Options{Addr: p.addr(), ContextTimeoutEnabled: bounded, ReadTimeout: -1})
				defer client.Close()
				fake := clock.NewFake()
				const timeout, cooldown = 20 * time.Millisecond, time.Second
				l, err := New(tokenbucket.Config{Limit: 1_000_000, Window: time.Hour, Clock: fake}, client,
					Options{Prefix: t.Name(), Timeout: timeout, Cooldown: cooldown})
				if err != nil {
					t.Fatal(err)
				}
				eventually(t, "the server decides", func() bool {
					fake.Advance(cooldown)
					return allowed(l)
				})

				p.set(requests, !requests, false)
				defer p.set(false, false, false)
				if _, err := inTime(t, func() (d ratelimit.Decision, err error) { return d, l.Reset(ctx, "key") }); !errors.Is(err, ErrUnavailable) {
					t.Errorf("Reset = %v", err)
				}
				for range failuresToOpen - 1 {
					begun := time.Now()
					d, err := inTime(t, func() (ratelimit.Decision, error) { return l.Take(ctx, "key", 1) })
					if d.Allowed || !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "no answer within the Timeout of 20ms") ||
						errors.Is(err, context.DeadlineExceeded) || d.RetryAfter != cooldown {
						t.Fatalf("Take = %+v, %v", d, err)
					}
					if took := time.Since(begun); took < timeout/2 {
						t.Errorf("it took %v, the time-out being %v", took, timeout)
					}
				}
				before := l.health.breakers[0].failures.Load()
				for range 1000 {
					if d, err := l.Take(ctx, "key", 1); d.Allowed || !errors.Is(err, ErrUnavailable) || d.RetryAfter != cooldown {
						t.Fatalf("Take = %+v, %v", d, err)
					}
				}
				if after := l.health.breakers[0].failures.Load(); after != before {
					t.Errorf("the server was asked %d times more", after-before)
				}
				fake.Advance(cooldown)
				var all sync.WaitGroup
				for range 10 {
					all.Go(func() { l.Take(ctx, "key", 1) })
				}
				all.Wait()
				if after := l.health.breakers[0].failures.Load(); after != before+1 {
					t.Errorf("after the cool-down the server was asked %d times more, want 1", after-before)
				}

				p.set(false, false, false)
				eventually(t, "the server decides", func() bool {
					fake.Advance(cooldown)
					return allowed(l)
				})
				if l.health.breakers[0].openFor.Load() != 0 || l.Err() != nil {
					t.Errorf("the breaker is open for %v, Err is %v", l.health.breakers[0].left(fake.Now()), l.Err())
				}
			})
		}
	}
}

// A Batch is one call, however many keys it has: it takes three without an answer
// to leave the server alone.
func TestBatchFailsOnce(t *testing.T) {
	ctx := context.Background()
	server := newServer(t)
	for name, bounded := range map[string]bool{"bounded": true, "unbounded": false} {
		t.Run(name, func(t *testing.T) {
			p := newProxy(t, server.addr())
			client := redis.NewClient(&redis.Options{Addr: p.addr(), ContextTimeoutEnabled: bounded, ReadTimeout: -1})
			defer client.Close()
			l, err := New(tokenbucket.Config{Limit: 1000, Window: time.Hour, Clock: clock.NewFake()}, client,
				Options{Prefix: t.Name(), Timeout: 50 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			eventually(t, "the server decides", func() bool { return allowed(l) })
			p.set(true, false, false)
			b := &l.health.breakers[0]
			for i := range failuresToOpen {
				if open := b.openFor.Load() != 0; open {
					t.Fatalf("after %d calls without an answer the server is left alone", i)
				}
				var decisions []ratelimit.Decision
				_, err := inTime(t, func() (d ratelimit.Decision, err error) {
					decisions, err = l.Batch(ctx, []Request{{"a", 1}, {"b", 1}, {"c", 1}, {"d", 1}})
					return d, err
				})
				if !errors.Is(err, ErrUnavailable) {
					t.Fatalf("Batch = %+v, %v", decisions, err)
				}
				if got := b.failures.Load(); got != int64(i+1) {
					t.Fatalf("%d Batches without an answer count as %d calls", i+1, got)
				}
			}
			if b.openFor.Load() == 0 {
				t.Errorf("after %d calls without an answer the server is not left alone", failuresToOpen)
			}
		})
	}
}

// A call that fails while another is answered may open the breaker with no
// failure counted. The next answer closes it even so.
func TestBreakerClosesAfterARace(t *testing.T) {
	const cooldown = 10
	closes := func(t *testing.T, b *breaker) {
		t.Helper()
		if now := b.left(0); !b.lets(now, cooldown) {
			t.Fatalf("no call is let through at %d", now)
		}
		b.answered(200)
		if !b.lets(0, cooldown) || b.left(0) != 0 {
			t.Fatalf("after an answer it is open until %d", b.left(0))
		}
	}
	t.Run("no failure counted", func(t *testing.T) {
		var b breaker
		b.openFor.Store(110)
		closes(t, &b)
	})
	t.Run("together", func(t *testing.T) {
		for range 10_000 {
			var b breaker
			var both sync.WaitGroup
			for range failuresToOpen - 1 {
				b.failed(100, 100, cooldown)
			}
			both.Go(func() { b.failed(100, 100, cooldown) })
			both.Go(func() { b.answered(0) })
			both.Wait()
			closes(t, &b)
		}
	})
}

// inTime is the result of a call, which must not take for ever.
func inTime(t *testing.T, call func() (ratelimit.Decision, error)) (d ratelimit.Decision, err error) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		d, err = call()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatalf("it takes more than %v", patience)
	}
	return d, err
}

func allowed(l *Limiter) bool {
	ok, err := l.Allow(context.Background(), "key")
	return ok && err == nil
}

// A caller that gives up is told so, and is no reason to leave the server alone.
func TestCallerGivesUp(t *testing.T) {
	p := newProxy(t, newServer(t).addr())
	client := redis.NewClient(&redis.Options{Addr: p.addr(), ContextTimeoutEnabled: true})
	defer client.Close()
	l, err := New(tokenbucket.Config{Limit: 10, Window: time.Hour, Clock: clock.NewFake()}, client, Options{Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	take(t, l, "key", 1)
	p.set(true, false, false)
	l.bounded = false // so that a cancellation is heard
	for range 5 {
		ctx, cancel := context.WithCancel(context.Background())
		time.AfterFunc(time.Millisecond, cancel)
		if d, err := l.Take(ctx, "key", 1); d.Allowed || !errors.Is(err, context.Canceled) {
			t.Errorf("Take = %+v, %v", d, err)
		}
	}
	if l.health.breakers[0].openFor.Load() != 0 {
		t.Error("the breaker is open")
	}
}

// Callers who never wait for long find out together that the server is away, if
// nobody has had an answer in the meantime.
func TestImpatientCallers(t *testing.T) {
	const long, cooldown = 10, 1000
	var b breaker
	abandon := func(sent, now time.Duration, want bool) {
		t.Helper()
		if got := b.abandoned(sent, now, long, cooldown); got != want {
			t.Fatalf("a call from %d to %d has failed: %v", sent, now, got)
		}
	}
	abandon(99, 100, false)
	for range 2 * failuresToOpen {
		abandon(101, 109, false)
	}
	abandon(105, 110, true)
	abandon(105, 110, true)
	b.answered(106)
	for range 2 * failuresToOpen {
		abandon(90, 120, false) // nobody knows of a time before the answer
	}
	abandon(111, 129, false)
	for range failuresToOpen {
		if !b.lets(130, cooldown) {
			t.Fatal("it is open too early")
		}
		abandon(121, 130, true)
	}
	if b.lets(131, cooldown) {
		t.Fatal("it is not open")
	}
	if !b.lets(130+cooldown, cooldown) {
		t.Fatal("it stays open")
	}
	b.answered(1130)
	// When nobody asks, nobody goes without an answer.
	for i := range time.Duration(2 * failuresToOpen) {
		abandon(2000+20*i, 2001+20*i, false)
	}
	b.answered(3000)
	// Who waits seldom, but for long, goes without an answer.
	abandon(3001, 3012, false)
	for i := range time.Duration(failuresToOpen) {
		abandon(3100+100*i, 3111+100*i, true)
	}
	if b.lets(3400, cooldown) {
		t.Fatal("it is not open")
	}

	// Those who give up together give up at one time.
	for range 1000 {
		var b breaker
		b.abandoned(0, 1, long, cooldown)
		var all sync.WaitGroup
		for range 2 * failuresToOpen {
			all.Go(func() { b.abandoned(5000, 5001, long, cooldown) })
		}
		all.Wait()
		if b.failures.Load() != 0 {
			t.Fatal("many who gave up at once count as one who waited")
		}
	}

	p := newProxy(t, newServer(t).addr())
	client := redis.NewClient(&redis.Options{Addr: p.addr(), ContextTimeoutEnabled: true})
	defer client.Close()
	fake := clock.NewFake()
	l, err := New(tokenbucket.Config{Limit: 10, Window: time.Hour, Clock: fake}, client, Options{Timeout: time.Minute, Cooldown: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	take(t, l, "key", 1)
	p.set(true, false, false)
	giveUp := func() error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		defer cancel()
		_, err := inTime(t, func() (ratelimit.Decision, error) { return l.Take(ctx, "key", 1) })
		return err
	}
	for i := range 2 + failuresToOpen {
		if l.Err() != nil {
			break
		}
		if err := giveUp(); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrUnavailable) {
			t.Fatalf("call %d: %v", i, err)
		}
		fake.Advance(l.options.Timeout / 8)
	}
	for range failuresToOpen - 1 {
		giveUp()
	}
	if err := giveUp(); !errors.Is(err, ErrUnavailable) || l.Err() == nil {
		t.Errorf("after a quarter of the time-out without an answer: %v", err)
	}
}

// Calls that go without an answer together do not make the server one that does not
// answer, if later ones had answers.
func TestFailuresBeforeAnAnswer(t *testing.T) {
	const cooldown = 1000
	var b breaker
	b.answered(50)
	for range 2 * failuresToOpen {
		b.failed(10, 100, cooldown)
	}
	if !b.lets(100, cooldown) {
		t.Fatal("calls of before an answer have opened it")
	}
	for i := range failuresToOpen {
		if !b.lets(100, cooldown) {
			t.Fatalf("after %d it is open", i)
		}
		b.failed(60, 100, cooldown)
	}
	if b.lets(100, cooldown) {
		t.Fatal("it is not open")
	}
}

// The error says what it was, and only of the Timeout that it was the Timeout.
func TestErrorTellsWhy(t *testing.T) {
	ctx := context.Background()
	p := newProxy(t, newServer(t).addr())
	p.set(true, false, false)
	slow := redis.NewClient(&redis.Options{Addr: p.addr(), ContextTimeoutEnabled: true, ReadTimeout: 20 * time.Millisecond, MaxRetries: -1, DialerRetries: 1})
	defer slow.Close()
	dials := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", ContextTimeoutEnabled: true, DialerRetries: 1, Dialer: func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: context.DeadlineExceeded}
	}})
	defer dials.Close()
	for _, tt := range []struct {
		client  redis.UniversalClient
		options Options
		want    string
	}{
		{slow, Options{Timeout: time.Minute}, "i/o timeout"},
		{slow, Options{Timeout: 5 * time.Millisecond}, "no answer within the Timeout of 5ms"},
		{dials, Options{Timeout: time.Minute}, "dial tcp: context deadline exceeded"},
		{away(t), Options{Timeout: time.Minute}, "connection refused"},
	} {
		l, err := New(tokenbucket.Config{Limit: 10, Window: time.Hour}, tt.client, tt.options)
		if err != nil {
			t.Fatal(err)
		}
		_, err = l.Take(ctx, "key", 1)
		if !errors.Is(err, ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Take = %v, want an error with %q", err, tt.want)
		}
	}
}

// A Batch that tries a server again asks it about all of its keys.
func TestBatchTriesAgain(t *testing.T) {
	fake := clock.NewFake()
	l, err := New(tokenbucket.Config{Limit: 10, Window: time.Hour, Clock: fake}, newServer(t).client(t), Options{Timeout: time.Minute, Cooldown: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	for range failuresToOpen {
		l.health.breakers[0].failed(0, 0, time.Second)
	}
	requests := []Request{{"a", 1}, {"b", 1}, {"c", 1}, {"a", 1}}
	if _, err := l.Batch(context.Background(), requests); !errors.Is(err, ErrUnavailable) {
		t.Fatalf("while the server is left alone: %v", err)
	}
	fake.Advance(time.Second)
	decisions, err := l.Batch(context.Background(), requests)
	if err != nil {
		t.Fatal(err)
	}
	for i, d := range decisions {
		if want := 9 - i/3; !d.Allowed || d.Remaining != want {
			t.Errorf("decision %d: %+v, want %d remaining", i, d, want)
		}
	}
}

// A server that speaks but does not decide is not left alone, and not trusted.
func TestServerInError(t *testing.T) {
	ctx := context.Background()
	client := shared(t)
	l, err := New(tokenbucket.Config{Limit: 10, Window: time.Hour}, client, Options{Prefix: t.Name(), Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	if err := client.RPush(ctx, l.keys(nil, "key")[0].(string), "not a state").Err(); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if d, err := l.Take(ctx, "key", 1); d.Allowed || !errors.Is(err, ErrUnavailable) || !redis.HasErrorPrefix(err, "WRONGTYPE") {
			t.Fatalf("Take of a key that is another's = %+v, %v", d, err)
		}
	}
	if !take(t, l, "another", 1).Allowed {
		t.Error("other keys are refused")
	}
}
