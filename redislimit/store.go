package redislimit

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/fixedwindow"
	"github.com/ratekeep/ratelimit/httplimit"
	"github.com/ratekeep/ratelimit/leakybucket"
	"github.com/ratekeep/ratelimit/slidinglog"
	"github.com/ratekeep/ratelimit/slidingwindow"
	"github.com/ratekeep/ratelimit/tokenbucket"
)

// Store is for [httplimit.Config].Store: it has the limits of all servers with
// that Config count together on the client's server. New of httplimit returns
// its error if a limit is not in the range that the package's documentation
// has.
//
// Each limit has the Options, and its ID in the keys, so that limits count apart
// even if they are equal. Servers whose Configs differ need a Prefix of their own,
// or what stands at the same place in both counts together if it is equal.
//
// Plans of one limit that have different rates count each for itself: what a
// client has used up under one does not weigh on it under another.
//
// A request that several rates apply to makes two round trips for each, one after
// the other: a Peek and a Take. When the server goes away the limits of a Store find
// it out together: three calls go without an answer, and not three for each. Then
// Refuse leaves the choice to [httplimit.Config].AdmitOnError, and its Logger is
// told. Of Admit and Fallback only [Options].Logger is told.
//
// The keys on the server are {Prefix:key}/ID/limit, with the Spec's ID: where the
// limit stands in the Config. When one is inserted before it, its ID is another, and
// its counts begin anew.
//
// What [httplimit.Limit].CountWhen does not count, or [httplimit.Limiter.Reset]
// frees, such as a client that was banned, other servers may see only when the
// refusals that they remember end; with [NoRefusals] they see it at once.
//
// A Lease must be in range for every limit. The counts of a Ban are limits too,
// one of which admits 1, so that it goes with no leases. What is left of a lease
// when a process ends counts as used.
func Store(client redis.UniversalClient, options Options) func(httplimit.Spec) (httplimit.Store, error) {
	shared := sync.OnceValue(func() *health { return newHealth(client) })
	return func(s httplimit.Spec) (httplimit.Store, error) {
		space := "/" + escape.Replace(s.ID) + "/"
		if s.Burst != 0 && s.Strategy != httplimit.TokenBucket && s.Strategy != httplimit.LeakyBucket {
			return nil, fmt.Errorf("redislimit: a %v has no Burst, which is %d", s.Strategy, s.Burst)
		}
		var l *Limiter
		var err error
		h := shared()
		switch s.Strategy {
		case httplimit.TokenBucket:
			l, err = newIn(space, h, tokenbucket.Config{Limit: s.Count, Window: s.Window, Burst: s.Burst}, client, options)
		case httplimit.LeakyBucket:
			l, err = newIn(space, h, leakybucket.Config{Limit: s.Count, Window: s.Window, Capacity: s.Burst}, client, options)
		case httplimit.FixedWindow:
			l, err = newIn(space, h, fixedwindow.Config{Limit: s.Count, Window: s.Window}, client, options)
		case httplimit.SlidingWindow:
			l, err = newIn(space, h, slidingwindow.Config{Limit: s.Count, Window: s.Window}, client, options)
		case httplimit.SlidingLog:
			l, err = newIn(space, h, slidinglog.Config{Limit: s.Count, Window: s.Window}, client, options)
		default:
			err = fmt.Errorf("redislimit: there is no Strategy %d", int(s.Strategy))
		}
		if err != nil {
			return nil, err
		}
		return store{l}, nil
	}
}

// escape takes the braces out of an ID, which can have a route's pattern in it,
// and out of keys. A Cluster places a key by what is between its first braces, so
// all clients of "/users/{id}" would be in one slot. And no limiter that New made
// has such a key on the server as a limit of a Store, with the same Prefix: there
// the ID is behind the only brace that closes.
var escape = strings.NewReplacer("%", "%25", "{", "%7B", "}", "%7D")

// store is a Limiter whose keys have no braces.
type store struct {
	limiter *Limiter
}

func (s store) Take(ctx context.Context, key string, n int) (ratelimit.Decision, error) {
	return s.limiter.Take(ctx, escape.Replace(key), n)
}

func (s store) Peek(ctx context.Context, key string, n int) (ratelimit.Decision, error) {
	return s.limiter.Peek(ctx, escape.Replace(key), n)
}

func (s store) Refund(ctx context.Context, key string, d ratelimit.Decision) error {
	return s.limiter.Refund(ctx, escape.Replace(key), d)
}

func (s store) Reset(ctx context.Context, key string) error {
	return s.limiter.Reset(ctx, escape.Replace(key))
}
