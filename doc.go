// Package ratelimit limits how often things happen, inside one process: five
// classic algorithms behind one [Limiter] interface and an injectable clock.
//
// A program imports the one algorithm that it uses:
//
//	limiter, err := tokenbucket.New(tokenbucket.Config{Limit: 100, Window: time.Second, Burst: 20})
//	if err != nil {
//		return err
//	}
//	if !limiter.Allow() {
//		return errTooManyRequests
//	}
//
// This package holds what they share: the interface, the [Decision], the errors,
// and [All], which makes several limits one.
//
// # Which algorithm
//
// All of them are told a Limit and a Window; they differ in what they make of
// it. The third column is the most that is ever admitted in any time as long as
// one Window, with the default burst.
//
//	package        promise                                worst case    state            choose it
//	tokenbucket    Limit per Window flow in, at most      Burst+Limit   one word         by default: bursts pass,
//	               Burst are kept                         = 2·Limit                      the rate holds
//	leakybucket    Allow: the same, as a bucket that      Capacity+     one word         to pace calls to others:
//	               leaks. Wait: one by one, at least      Limit; Wait:                   Wait spaces them evenly
//	               Window/Limit apart                     1+Limit
//	fixedwindow    Limit in each aligned window           2·Limit       one word         for quotas that begin anew
//	                                                                                     on the hour or at midnight UTC
//	slidingwindow  Limit, counting the window before      2·Limit;      one word, or     for a limit per trailing
//	               by how much of it is still covered     bursts reach  four for very    window that is cheap and
//	                                                      1.5·Limit     large limits     near enough
//	slidinglog     Limit in every trailing window         Limit         16 bytes per     when the limit must never
//	                                                                    admission        be exceeded
//
// If a client must never make more than N calls in any window, because somebody
// else counts, choose slidinglog, or tokenbucket with a Burst of 1 and a rate
// that is a little lower. If the load is to be smooth, choose leakybucket and
// Wait, or tokenbucket with a small Burst. Otherwise choose tokenbucket.
// Package bench of this repository replays traffic through all five and shows
// what each would have done to it.
//
// # The verbs
//
// Allow and AllowN answer yes or no. Take answers with a [Decision], which says
// how many are left and when to come back; it is what an HTTP header is made of.
// Peek answers what Take would and takes nothing. Wait and WaitN block until
// they are admitted, in order of arrival. All five algorithms also implement
// [Refunder], for what was admitted and then not done, and [Resetter].
//
// An n of 0 is always admitted. A negative n, and one above the limit, is
// refused for ever: RetryAfter is [Never], and WaitN returns an error that wraps
// [ErrExceedsLimit].
//
// # Many clients, and HTTP
//
// Package keyed is one limiter for each key, under the same verbs, for millions
// of clients, users or addresses in bounded memory. Package notation reads limits
// as people write them, "5 per minute; 20 per hour". Package httplimit is
// middleware of both for net/http; examples/server shows it. Module redislimit has
// the same limiters on a Redis server that several machines share.
//
// # What holds for all of them
//
// A refusal, a Peek and a wait that was given up leave the state as it was, bit
// for bit: whoever hammers a limiter that refuses does not make it refuse for
// longer. RetryAfter is exact: refused a nanosecond before, admitted at that
// instant if nobody else comes. While somebody waits, Allow and Take refuse
// rather than overtake, and RetryAfter is a lower bound that counts those in
// line.
//
// Arithmetic is in integers, with 128-bit products. The window kinds and the log
// are exact. The buckets round the clock by less than a nanosecond in all.
//
// # Time
//
// A limiter reads its clock once for each decision. Readings may arrive in any
// order, because a goroutine was preempted between its reading and its decision
// or because a test moved the clock back: the limiter then counts them as the
// latest time that its state knows, and admits no more than its bound allows.
// Only a bucket's Refund depends on an order: it counts what has flowed in since
// the admission by the clock, so that on a clock that runs backwards it may give
// back what has flowed in already, though never more than was taken.
//
// Clock readings are expected within 18 years from the clock's start. Outside of
// that a limiter stands still: it admits what it has, and no more.
//
// Setting the wall clock does not matter to any of them. The fixed and the
// sliding window align their windows with the wall clock as it was when the
// clock started.
//
// # Tests without sleeping
//
// Give the limiter a fake clock, and move it:
//
//	fake := clock.NewFake()
//	limiter := tokenbucket.MustNew(tokenbucket.Config{Limit: 1, Window: time.Second, Clock: fake})
//	limiter.Allow()            // true
//	limiter.Allow()            // false
//	fake.Advance(time.Second)
//	limiter.Allow()            // true
//
// A test of code that waits starts it, calls fake.BlockUntil(ctx, 1), and then
// moves the clock. Of a line, only the first sleeps. A context's deadline is real
// time even so: give such a Wait a context without one. The system clock keeps a
// testing/synctest bubble's time, if the limiter is made inside the bubble.
//
// # Cost, and many cores
//
// A decision of the four one-word kinds costs a reading of the clock and, if it
// admits, one compare-and-swap; the README has the figures. Nothing allocates
// but a wait that really blocks, the growth of the log, and an error. No limiter starts a
// goroutine.
//
// With many cores the two outcomes part ways. A refusal only reads: the line of
// memory that holds the state stays shared between the caches, so refusals scale
// with the cores, and a flood is mostly refusals. An admission moves that line
// to the core that makes it, which takes some tens of nanoseconds within a
// socket and one to several hundred across sockets, and only one core can have
// it at a time. So one limiter admits some 10 to 20 million events a second on
// one socket however many cores ask, and fewer across several. Two cores, which
// were measured (of a Xeon), show it: one of them alone admits an event every 41 ns,
// both together one every 63 ns, as a bare compare-and-swap does; while
// they refuse one every 38 and every 19 ns. 64 cores were not measured. There:
//
//   - Below a few million admissions a second, do nothing. The limit itself keeps
//     admissions rare, and refusals scale.
//   - If the clock is the larger part, use a [clock.Coarse]: an admission becomes
//     little more than its compare-and-swap. It does not help where that is
//     contended; and a refusal, which reads the real clock and stores it, becomes
//     a fifth to a half dearer and no longer scales.
//   - Beyond, make a limiter for each part of what is limited: per key, tenant or
//     connection, if the limits are theirs. That is exact. Package keyed is a
//     table of them.
//   - Splitting one limit over k limiters, each with Limit/k, is the last resort.
//     The bound widens where rounding adds to the parts (each is at least 1), a
//     caller may be refused by one part while others have room, and whoever waits
//     waits longer, always: k servers of a kth of the rate are slower than one.
package ratelimit
