package slidinglog

import (
	"sort"
	"time"
)

// log holds the admissions of the trailing window, oldest first, in a ring that
// grows as needed:
//
//	ring  [ . . | first … the newest | . . ]
//
// Events admitted at one reading share an entry. Each entry knows the running
// total of events, so that any number of entries is counted by a subtraction,
// and found by a binary search. The zero log is empty. It has no lock of its
// own.
type log struct {
	ring   []entry
	first  int           // where in the ring the oldest entry is
	length int           // entries in the ring
	before uint64        // running total before the oldest entry
	total  uint64        // running total; wraps
	latest time.Duration // of the readings admitted at; it outlives its entry
}

type entry struct {
	at    time.Duration // when the events were admitted
	total uint64        // running total, these events included
}

// at returns the entry that has i older ones before it.
func (g *log) at(i int) *entry {
	if i += g.first; i >= len(g.ring) {
		i -= len(g.ring)
	}
	return &g.ring[i]
}

// oldest and newest are when the entries at the ends were admitted. They require
// that there are any.
func (g *log) oldest() time.Duration { return g.ring[g.first].at }
func (g *log) newest() time.Duration { return g.at(g.length - 1).at }

// totalBefore is the running total before entry i.
func (g *log) totalBefore(i int) uint64 {
	if i == 0 {
		return g.before
	}
	return g.at(i - 1).total
}

// events is how many events there are after the oldest entries.
func (g *log) events(after int) uint64 { return g.total - g.totalBefore(after) }

// expired is how many entries were admitted until a time.
func (g *log) expired(t time.Duration) int {
	// Most often it is none, or a few. Double the step until one is later.
	last, step := 0, 1
	for last < g.length && g.at(last).at <= t {
		last += step
		step *= 2
	}
	if last <= 1 {
		return last
	}
	first := last - step/2 + 1
	return first + sort.Search(min(last, g.length)-first, func(i int) bool { return g.at(first+i).at > t })
}

// reached is when the n-th event after the oldest entries was admitted.
func (g *log) reached(after int, n uint64) time.Duration {
	before := g.totalBefore(after)
	i := sort.Search(g.length-after, func(i int) bool { return g.at(after+i).total-before >= n })
	return g.at(after + i).at
}

// drop removes the oldest entries.
func (g *log) drop(entries int) {
	g.before = g.totalBefore(entries)
	if g.first += entries; g.first >= len(g.ring) {
		g.first -= len(g.ring)
	}
	g.length -= entries
}

// add admits n events at a time that is not before the newest entry. There must
// never be more than most entries.
func (g *log) add(t time.Duration, n uint64, most int) {
	if g.length > 0 && t == g.latest && t == g.newest() {
		g.total += n
		g.at(g.length - 1).total = g.total
		return
	}
	if g.length == len(g.ring) {
		g.grow(most)
	}
	g.latest = t
	g.total += n
	*g.at(g.length) = entry{at: t, total: g.total}
	g.length++
}

// grow doubles the ring.
func (g *log) grow(most int) {
	size := most
	if len(g.ring) < most/2 {
		size = max(2*len(g.ring), min(4, most))
	}
	ring := make([]entry, size)
	n := copy(ring, g.ring[g.first:])
	copy(ring[n:], g.ring[:g.first])
	g.ring, g.first = ring, 0
}

// remove takes back up to n events that were admitted at a time.
func (g *log) remove(t time.Duration, n uint64) {
	i := sort.Search(g.length, func(i int) bool { return g.at(i).at >= t })
	if i == g.length || g.at(i).at != t {
		return
	}
	own := g.at(i).total - g.totalBefore(i)
	n = min(n, own)
	g.total -= n
	for j := i; j < g.length; j++ {
		g.at(j).total -= n
	}
	if n == own {
		for ; i+1 < g.length; i++ {
			*g.at(i) = *g.at(i + 1)
		}
		g.length--
	}
}
