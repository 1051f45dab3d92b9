// Package redislimit is the limiters of package ratelimit for many processes
// together: the state of each key is on a Redis or Valkey server that they share,
// and every decision is made there.
//
//	client := redis.NewClient(&redis.Options{Addr: "redis:6379", ContextTimeoutEnabled: true, DialerRetries: 1})
//	limiter, err := redislimit.New(tokenbucket.Config{Limit: 100, Window: time.Minute, Burst: 20}, client, redislimit.Options{})
//	if err != nil {
//		return err
//	}
//	decision, err := limiter.Take(ctx, user, 1)
//
// The first argument is any of the five packages' Config. The client is any
// [redis.UniversalClient]: one server, Sentinel, or a Cluster. It takes Redis 6.2
// or later, or Valkey.
//
// [All] decides several limits of a key at once, and [Limiter.Batch] many keys.
// [Store] moves the limits of a server that uses package httplimit to Redis.
//
// # Promise
//
// Each algorithm admits what the package of its name says, over all processes and
// by the server's clock: same bound, same Decision. A decision is one script, and
// so atomic; it and its state are in whole microseconds and exact, those of the
// sliding log too. n events of which not all can be admitted change nothing; so do
// Peek, and several limits ([All]) of which one refuses.
//
// Decision.At is the server's time since 1970: time.Unix(0, int64(d.At)). RetryAfter
// is exact to the microsecond, if nobody else comes.
//
// What is stored for a key goes away by itself once it is as good as new. All that
// belongs to a key is in one slot of a Cluster. Limiters share a key's state if
// their Prefix and Config are the same; while processes with an old and a new
// Config run side by side, each counts for itself.
//
// # Range
//
// A number in Lua is exact below 2^53. New refuses what would not be: a Window or
// Offset that is not of whole microseconds; a Limit above 2^40, or 2^28 for the
// sliding window; and a bucket that fills in more than 2^51 microseconds, which is
// 71 years. Time is good until 2255.
//
// # The server's clock
//
// The bound is kept by the server's clock. When that is set forward, it is as if
// the time had passed. When it is set back by less than a Window, or than a bucket
// takes to fill, that time is waited out; when by more, all that was admitted
// counts as if it were admitted now or in the next window. So in real time the
// bound holds, and nobody waits for more than two Windows, or fillings. A replica
// that becomes the master may lack the last decisions, and a server that forgets
// its data forgets what was admitted: keys begin anew.
//
// # Refusals without a call
//
// What the server refused until t is refused until t in this process too, for the
// same number of events or more, without asking; [Options].Refusals bounds how many
// keys are remembered. Nobody is refused for longer than the server said: t counts
// from before it was asked. This process's clock measures it, and makes it longer by
// as much as it runs slower than the server's. What a Refund or a Reset frees is seen
// at once by the Limiter that made it; elsewhere it is seen when the refusals that are
// remembered there end, so as late as the RetryAfter that was told before. The same
// holds for FLUSHALL. With [NoRefusals] every call asks. For more events than were
// refused, the RetryAfter of a sliding log, or of an All, is then a lower bound; so is
// a log's Remaining. Of a key longer than 1024 bytes nothing is remembered.
//
// # Leases
//
// With [Options].Lease k, a process takes k events of a key at once and hands them
// out without a call. They count when they are taken. So in any interval as many
// more are admitted than the bound as are held at its beginning: at most k for each
// Limiter. A lease lapses after LeaseFor, and its rest counts as used unless Close
// gives it back. A handed out Decision is as of when the lease was taken; RetryAfter
// is a lower bound, as what is held may lapse before. A Reset ends the lease of its
// own Limiter only. While a lease is taken, others who want more of it wait, so a key
// is handed out at most k for each round trip. There are no leases of keys longer
// than 1024 bytes.
//
// # When the server is away
//
// Every call ends within [Options].Timeout, all that it does included; those that
// begin within an eighth of it may end together. A call that went without an answer
// may have been counted or not. It is not sent again, whatever the client's
// MaxRetries is, so that nothing is counted twice; what is lost is at most that
// call's events, or lease. After three such calls in a row the server is left alone
// for a Cooldown, and then tried by one call at a time until one is answered. Calls
// whose contexts end before the Timeout count too, once such callers have waited for
// a quarter of it in all, and nobody had an answer. In a Cluster
// that is done for each of 64 ranges of slots, and with its AutoPipeline for all.
//
// [Limiter.Err] tells, and [Options].Logger is told. What callers get meanwhile is
// [Options].WhenDown, unless their context is done, whose error they get then. The
// limits of Fallback begin fresh and know nothing of what the server admitted, nor
// it of what they do. They are a Share of the whole, rounded down so that all
// together keep the rate, but never below a burst of 1.
//
// A Decision that the server did not make has an At of the Config's Clock, below 18
// years; Refund knows it by that. With Refuse its RetryAfter is when the server is
// asked again, or a Cooldown if it has not been left alone yet; so it is with
// Fallback for more events than the share ever admits. With Admit nothing is
// known of what remains: it is the Limit less n.
//
// The client's own dialing may outlast the Timeout, and then why it failed is not
// told: set DialerRetries to 1, as it retries with pauses.
//
// # Waiting
//
// Those who wait for one key in one process are served in order of arrival, and Take
// does not overtake them. Between processes there is no order: the first in line of
// each asks again when its RetryAfter is up, and who asks first is first.
//
// # Cost
//
// A decision takes one round trip, on loopback one and a half to two times as long as
// that of a PING; a refusal that is remembered takes a tenth of a microsecond. Where many
// callers ask at once, hand New the client's AutoPipeline: it sends their calls
// together. A client without ContextTimeoutEnabled heeds no deadline, nor may an
// AutoPipeline, so each call is made by a goroutine of its own, which may outlive it;
// otherwise no goroutine is started.
//
// Of a sliding log the server keeps some 13 bytes for each admission; a Refund takes
// it time linear in the admissions since.
package redislimit
