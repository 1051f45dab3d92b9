package redislimit

import (
	"sync"
	"sync/atomic"
	"time"
)

// failuresToOpen is how many calls in a row go without an answer before the
// server is left alone.
const failuresToOpen = 3

// breaker keeps callers away from a server that does not answer. It is closed,
// or open until a reading of the clock; then it lets one call through and stays
// open for the others until that one has been answered.
type breaker struct {
	failures atomic.Int64 // in a row
	openFor  atomic.Int64 // until this reading; 0 if closed
	reached  atomic.Int64 // the reading at which a call was sent that was answered, the last one

	// The readings since which nobody had an answer, as far as callers that gave up
	// know, 0 if none did since the latest answer; and at which the last gave up.
	silent atomic.Int64
	mu     sync.Mutex
	gaveUp int64 // guarded by mu
}

// lets reports whether a call may be made at now.
func (b *breaker) lets(now, cooldown time.Duration) bool {
	until := b.openFor.Load()
	if until == 0 {
		return true
	}
	// If the one that tries never comes back, another will.
	return int64(now) >= until && b.openFor.CompareAndSwap(until, int64(now+cooldown))
}

// answered closes the breaker. It may be open with no failure counted, if one
// that failed came in between another's answer.
func (b *breaker) answered(sent time.Duration) {
	b.reached.Store(int64(sent))
	for _, of := range []*atomic.Int64{&b.failures, &b.openFor, &b.silent} {
		if of.Load() != 0 {
			of.Store(0)
		}
	}
}

// failed is told of a call without an answer, and opens the breaker if it was not
// the first in a row. It tells nothing if one that was sent later had an answer.
func (b *breaker) failed(sent, now, cooldown time.Duration) {
	if int64(sent) < b.reached.Load() {
		return
	}
	if b.failures.Add(1) >= failuresToOpen {
		b.openFor.Store(max(int64(now+cooldown), 1))
	}
}

// abandoned is told of a call whose caller gave up at now. It has failed if nobody
// had an answer for so long, of which the times count while somebody waited.
func (b *breaker) abandoned(sent, now, long, cooldown time.Duration) (failed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	at, since, last := max(int64(now), 1), b.silent.Load(), b.gaveUp
	b.gaveUp = max(last, at)
	if since == 0 { // there may have been an answer just before
		b.silent.Store(at)
		return false
	}
	if int64(sent)-last >= int64(long) {
		since = int64(sent)
		b.silent.Store(since)
	}
	if at-since < int64(long) {
		return false
	}
	b.failed(sent, now, cooldown)
	return true
}

// left is how long no call is let through.
func (b *breaker) left(now time.Duration) time.Duration {
	return max(time.Duration(b.openFor.Load())-now, 0)
}

// breakersOfCluster is how many breakers a Cluster has: each guards a range of
// its 16384 slots, which mostly are one server's.
const breakersOfCluster = 64

// slot is the Cluster slot of what a key is placed by.
func slot(tag string) int {
	var crc uint16
	for i := range len(tag) {
		crc ^= uint16(tag[i]) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return int(crc % 16384)
}
