// Package keyed limits per key: one limiter of any of the five algorithms for
// each client, user or address, for millions of them.
//
//	limiter, err := keyed.New[string](tokenbucket.Config{Limit: 10, Window: time.Second, Burst: 20}, keyed.Options{})
//	if err != nil {
//		return err
//	}
//	if !limiter.Allow(client) {
//		return errTooManyRequests
//	}
//
// # Promise
//
// Whatever the algorithm's package promises of one limiter holds for each key,
// under the same verbs, with the key as their first argument.
//
// A key that is as good as new is the same as a key that was never seen, so it
// may be forgotten at any time and nobody can tell. No other key is ever
// forgotten, neither for its age nor for the number of keys that come: whoever
// has used up a limit does not get it back by sending a flood of other keys.
//
// At most [Options.MaxKeys] keys are kept. When that many are active, and not
// before seven eighths of them are, a new key is refused, or shares one limiter
// with all the others that find no place: see [WhenFull]. (Keys are spread over
// parts of the table by their hash. That some part is so far above the average
// that it is full earlier has a probability of one in 30 million at the default
// MaxKeys, and of one in 25,000 at the largest.)
//
// # Keys
//
// A key is anything comparable: a string, an integer, a netip.Addr, a struct of
// them. A struct needs no string to be built:
//
//	type key struct {
//		user  int64
//		route string
//	}
//
// The table keeps a 64-bit hash of each key, with a seed of its own, and not the
// key. Two of n active keys have the same hash, and so share a limiter, with a
// probability of n²/2^65: one in 37 million for a million keys, one in 370,000
// for ten million; of a table with p plans, p times that. Since the seed is random
// nobody can find such keys.
// [Options.Exact] keeps the keys, too, so that no two share a limiter.
//
// A key that is not equal to itself, such as a NaN, is a new one each time. An
// interface that holds something which is not comparable panics, as in a map.
//
// # Cost
//
// A decision costs what the single limiter's does, and a hash, and one access to
// memory, which is a cache miss if the table is large. A refusal writes nothing.
// Nothing but a wait that blocks, an error and the growth of the table allocates.
// A key takes 20 to 24 bytes, and as many more as the algorithm needs beyond one
// word:
//
//	                                          bytes a key    and if Exact
//	tokenbucket, leakybucket, fixedwindow     20 to 24       1.2 to 1.5 times the size of K, and
//	slidingwindow, in one word                20 to 24       what it points to
//	slidingwindow, beyond                     50 to 60
//	slidinglog                                40 to 48, and 16 for each admission that still counts
//
// The garbage collector sees some arrays without pointers, whatever the number
// of keys; if Exact, it has to look at keys that contain pointers.
//
// The table consists of parts of a few thousand keys, and each grows for itself,
// when a new key finds no place in it, and forgets the keys then that are as good
// as new. Whoever needs that very part meanwhile waits, up to some tenths of a
// millisecond. Nothing is lost, and there is no goroutine in the background.
//
// While somebody waits for a key, decisions on it look up the line of those who
// wait. So do, for each such key, those on one in 64 of the others in its part of
// the table; for the rest nothing changes.
//
// The work of a slidinglog is linear in the key's admissions where that of a single
// one is not: in a refusal or a Peek of several events, and in the Refund of the
// latest.
package keyed

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"math/bits"

	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/internal/algorithm"
)

// Config is the Config of any of the five algorithms. Its Clock is that of all
// keys.
type Config interface {
	Algorithm(own clock.Clock) (algorithm.Algorithm, clock.Clock, error)
}

// Options are about the keys. The zero Options are good for most.
type Options struct {
	// MaxKeys is the most keys that are ever kept: 1 to 2^30. 0 means 2^20,
	// about a million. The table grows as keys come; of the maximum it takes
	// up no more than 208 bytes for each 4096 keys beforehand.
	MaxKeys int

	// WhenFull says what happens to a new key when MaxKeys keys are active.
	WhenFull WhenFull

	// Exact keeps the keys and compares them, so that no two keys ever share a
	// limiter, and so that [Limiter.Refused] and [Limiter.Busiest] can name
	// them.
	Exact bool
}

// WhenFull is what happens to a new key that finds no place.
type WhenFull int

const (
	// Refuse refuses it: RetryAfter is then an estimate of when there will be
	// a place, and Wait returns ErrFull at once.
	Refuse WhenFull = iota

	// Share has all such keys share one limiter. A key that gains a place of
	// its own later starts fresh, and a Refund of what the shared one admitted
	// gives nothing back; nor does one of what was admitted before that to a
	// key in the same part of the table.
	Share
)

// ErrFull is wrapped by the error of a Wait for a new key that finds no place.
var ErrFull = errors.New("keyed: no place for a new key")

const (
	defaultMaxKeys = 1 << 20
	maxMaxKeys     = 1 << 30
)

// Limiter is one limiter for each key. All methods are safe for concurrent use.
// It is made by New.
type Limiter[K comparable] struct {
	keys  *keys[K]
	plan  *plan
	clock clock.Clock
}

// New returns a limiter for each key, which makes them as they come. Its error
// names the field, the value and the range.
func New[K comparable](config Config, o Options) (*Limiter[K], error) {
	if config == nil {
		return nil, errors.New("keyed: the config is nil; want the Config of an algorithm, such as tokenbucket.Config")
	}
	if o.MaxKeys == 0 {
		o.MaxKeys = defaultMaxKeys
	}
	if o.MaxKeys < 1 || o.MaxKeys > maxMaxKeys {
		return nil, fmt.Errorf("keyed: MaxKeys %d is out of range [1, %d]", o.MaxKeys, maxMaxKeys)
	}
	if o.WhenFull != Refuse && o.WhenFull != Share {
		return nil, fmt.Errorf("keyed: WhenFull %d is neither Refuse nor Share", o.WhenFull)
	}
	a, c, err := config.Algorithm(clock.System())
	if err != nil {
		return nil, fmt.Errorf("keyed: %w", err)
	}
	p := newPlan(a, 0)
	return &Limiter[K]{keys: newKeys[K](p, o), plan: p, clock: c}, nil
}

// MustNew is New for a config and options that are known to be good. It panics
// with New's error.
func MustNew[K comparable](config Config, o Options) *Limiter[K] {
	l, err := New[K](config, o)
	if err != nil {
		panic(err)
	}
	return l
}

// Allow is AllowN(k, 1).
func (l *Limiter[K]) Allow(k K) bool { return l.AllowN(k, 1) }

// AllowN admits all n events of the key, or none of them.
func (l *Limiter[K]) AllowN(k K, n int) bool {
	if n < 1 || n > l.plan.limit {
		return n == 0
	}
	var p place[K]
	l.find(k, &p)
	answer := l.allow(&p, n)
	if answer == full && l.keys.share {
		p = l.shared()
		answer = l.allow(&p, n)
	}
	return answer == admitted
}

// Take is AllowN with the reasons.
func (l *Limiter[K]) Take(k K, n int) ratelimit.Decision { return l.ask(k, n, take) }

// Peek answers what Take would, and leaves the state of every key untouched.
func (l *Limiter[K]) Peek(k K, n int) ratelimit.Decision { return l.ask(k, n, peek) }

func (l *Limiter[K]) ask(k K, n int, v verb) ratelimit.Decision {
	var p place[K]
	l.find(k, &p)
	d, answer := l.take(&p, n, p.shard.ahead(&p), v)
	if answer == full && l.keys.share {
		of := p.shard
		p = l.shared()
		d, _ = l.take(&p, n, p.shard.ahead(&p), v)
		if v == take && d.Allowed && n > 0 {
			of.hasShared(d.At)
		}
	}
	return d
}

// Wait is WaitN(ctx, k, 1).
func (l *Limiter[K]) Wait(ctx context.Context, k K) error { return l.WaitN(ctx, k, 1) }

// WaitN blocks until n events of the key are admitted. Those who wait for the
// same key are served in order of arrival. It returns the errors of
// [ratelimit.Limiter], and one that wraps [ErrFull] at once if the key is new and
// finds no place.
func (l *Limiter[K]) WaitN(ctx context.Context, k K, n int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if n < 1 || n > l.plan.limit {
		if n == 0 {
			return nil
		}
		return fmt.Errorf("keyed: %w: n is %d, the limit %d", ratelimit.ErrExceedsLimit, n, l.plan.limit)
	}
	var p place[K]
	l.find(k, &p)
	answer := l.serveAtOnce(&p, n)
	if answer == refused {
		err := l.wait(ctx, p, n)
		if !l.keys.share || !errors.Is(err, ErrFull) {
			return err
		}
		answer = full // it was as good as new meanwhile, and has lost its place
	}
	if answer == full && l.keys.share {
		p = l.shared()
		if answer = l.serveAtOnce(&p, n); answer == refused {
			return l.wait(ctx, p, n)
		}
	}
	if answer == full {
		return l.errFull()
	}
	return nil
}

// Refund undoes what d admitted for the key, as far as it still counts. It does
// nothing for a decision that was refused, and nothing once the key has come
// under another plan: what it had used then is settled. Each decision may be
// refunded once.
func (l *Limiter[K]) Refund(k K, d ratelimit.Decision) {
	if !d.Allowed || d.N < 1 || d.N > l.plan.limit {
		return
	}
	var p place[K]
	l.find(k, &p)
	if l.keys.share && int64(d.At) <= p.shard.sharedAt.Load() {
		return // it may be the shared limiter that admitted it
	}
	l.refund(&p, d)
}

// Forget makes the key as good as new, under every plan: it is the Reset of one
// key.
func (l *Limiter[K]) Forget(k K) {
	var p place[K]
	l.find(k, &p)
	p.shard.mu.Lock()
	for _, plan := range l.keys.plans() {
		p.shard.forget(plan, p.in(plan))
	}
	p.shard.mu.Unlock()
	p.shard.wake(&p)
}

// Len is how many keys are kept. Keys that are as good as new count until they
// are forgotten.
func (l *Limiter[K]) Len() int {
	n := 0
	for i := range l.keys.shards {
		n += int(l.keys.shards[i].kept.Load())
	}
	return n
}

// find fills in the place of a key.
func (l *Limiter[K]) find(k K, p *place[K]) {
	hash := maphash.Comparable(l.keys.seed, k)
	i, _ := bits.Mul64(hash, uint64(len(l.keys.shards)))
	p.shard = &l.keys.shards[i]
	p.hash = hash
	p.id = id(hash, l.plan)
	p.key = k
}

// shared returns the place of all keys that find none of their own.
func (l *Limiter[K]) shared() place[K] {
	return place[K]{shard: &l.keys.overflow, id: id(0, l.plan)}
}

// place is where a key is, or would be. It is handed on by pointer, because
// copying it right after it was written stalls.
type place[K comparable] struct {
	shard *shard[K]
	hash  uint64
	id    uint64 // by which it is found in the shard
	key   K
	under *plan // of the state that was refused, if that is another than the limiter's
}

// in is the place that the key has under another plan.
func (p *place[K]) in(other *plan) *place[K] {
	return &place[K]{shard: p.shard, hash: p.hash, id: id(p.hash, other), key: p.key}
}

// id is what a key with a hash is found by under a plan. It is never 0.
func id(hash uint64, p *plan) uint64 {
	if id := hash ^ p.salt; id != 0 {
		return id
	}
	return math.MaxUint64
}

// reserved words: see [algorithm.Reserved].
const (
	frozen    = math.MaxUint64     // the state is being moved to a new table
	forgotten = math.MaxUint64 - 1 // there is no state
)

var _ [0]struct{} = [algorithm.Reserved - forgotten]struct{}{}
