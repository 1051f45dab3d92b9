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
	before uint64        // the running total before the oldest entry
	latest time.Duration // of the readings admitted at; it outlives its entry
}

type entry struct {
	at    time.Duration // when the events were admitted
	total uint64        // running total, these events included; wraps
}

// at returns the entry that has i older ones before it.
func (g *log) at(i int) *entry {
	if i += g.first; i >= len(g.ring) {
		i -= len(g.ring)
	}
	return &g.ring[i]
}

// newest is when the newest entry was admitted; 0 if there is none.
func (g *log) newest() time.Duration {
	if g.length == 0 {
		return 0
	}
	return g.at(g.length - 1).at
}

// total is the running total after i entries.
func (g *log) total(i int) uint64 {
	if i == 0 {
		return g.before
	}
	return g.at(i - 1).total
}

// events is the number of events admitted in entries i and later.
func (g *log) events(i int) uint64 { return g.total(g.length) - g.total(i) }

// expired is how many of the oldest entries no longer count: those admitted at
// or before now−window.
func (g *log) expired(now, window time.Duration) int {
	switch {
	case g.length == 0 || now-g.at(0).at < window:
		return 0
	case now-g.newest() >= window:
		return g.length
	}
	return sort.Search(g.length, func(i int) bool { return now-g.at(i).at < window })
}

// reached is when the event was admitted that is the n-th from entry i on.
func (g *log) reached(i int, n uint64) time.Duration {
	j := sort.Search(g.length-i, func(j int) bool { return g.total(i+j+1)-g.total(i) >= n })
	return g.at(i + j).at
}

// drop removes the oldest entries.
func (g *log) drop(entries int) {
	if entries == 0 {
		return
	}
	g.before = g.total(entries)
	if g.first += entries; g.first >= len(g.ring) {
		g.first -= len(g.ring)
	}
	g.length -= entries
}

// add admits n events at now, which must not be before the newest entry. There
// are never more than most entries.
func (g *log) add(now time.Duration, n uint64, most int) {
	total := g.total(g.length) + n
	g.latest = now
	if g.length > 0 {
		if newest := g.at(g.length - 1); newest.at == now {
			newest.total = total
			return
		}
	}
	if g.length == len(g.ring) {
		g.grow(most)
	}
	g.length++
	*g.at(g.length - 1) = entry{at: now, total: total}
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
func (g *log) remove(at time.Duration, n uint64) {
	i := sort.Search(g.length, func(i int) bool { return g.at(i).at >= at })
	if i == g.length || g.at(i).at != at {
		return
	}
	own := g.total(i+1) - g.total(i)
	n = min(n, own)
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
