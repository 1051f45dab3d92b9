package algorithm

// Heap is storage for entries of 16 bytes that are linked into lists by their
// numbers, so that the garbage collector has nothing to follow. It grows and
// shrinks by chunks of 1 KiB, and never moves an entry. The zero Heap is empty.
// It has no lock of its own.
type Heap struct {
	chunks []*chunk // by number; nil where there is none
	open   []uint32 // the numbers of chunks that have entries to give
	unused []uint32 // the numbers of no chunk
	rings  []uint32 // an entry of each ring that was given back whole
}

// Entry is what a list is made of.
type Entry struct {
	At   int64
	N    uint32
	Next uint32 // the number of an entry; 0 is none
}

const perChunk = 63

type chunk struct {
	entries [perChunk]Entry
	place   int32 // in Heap.open, if any entry is unused
	free    uint8 // one more than the first entry that was given back; linked by Next
	given   uint8 // entries from here on have never been given
	used    uint8
}

// At returns the entry of a number.
func (h *Heap) At(number uint32) *Entry {
	return &h.chunks[(number-1)/perChunk].entries[(number-1)%perChunk]
}

// New returns the number of an entry that nobody uses. Its contents are
// anything.
func (h *Heap) New() uint32 {
	h.sweep(2) // more than is given, so that it comes to an end
	if len(h.open) == 0 {
		h.grow()
	}
	i := h.open[len(h.open)-1]
	c := h.chunks[i]
	at := c.given
	if c.free > 0 {
		at = c.free - 1
		c.free = uint8(c.entries[at].Next)
	} else {
		c.given++
	}
	if c.used++; c.used == perChunk {
		h.open = h.open[:len(h.open)-1]
	}
	return i*perChunk + uint32(at) + 1
}

// Free takes an entry back.
func (h *Heap) Free(number uint32) {
	i, at := (number-1)/perChunk, (number-1)%perChunk
	c := h.chunks[i]
	if c.used == perChunk {
		c.place = int32(len(h.open))
		h.open = append(h.open, i)
	}
	c.entries[at].Next = uint32(c.free)
	c.free = uint8(at) + 1
	// One empty chunk is kept for the next entry.
	if c.used--; c.used == 0 && len(h.open) > 1 {
		h.drop(i)
	}
}

// FreeRing takes back all entries of a ring, of which number is one, in constant
// time. New gives their memory back, a few for each that it is asked for.
func (h *Heap) FreeRing(number uint32) { h.rings = append(h.rings, number) }

// sweep frees up to n entries of the rings that were given back.
func (h *Heap) sweep(n int) {
	for ; n > 0 && len(h.rings) > 0; n-- {
		last := len(h.rings) - 1
		before := h.At(h.rings[last])
		number := before.Next
		if number == h.rings[last] {
			h.rings = h.rings[:last]
		}
		before.Next = h.At(number).Next
		h.Free(number)
	}
}

// Chunks is how many chunks there are.
func (h *Heap) Chunks() int { return len(h.chunks) - len(h.unused) }

func (h *Heap) grow() {
	i := uint32(len(h.chunks))
	if last := len(h.unused) - 1; last >= 0 {
		i, h.unused = h.unused[last], h.unused[:last]
	} else {
		h.chunks = append(h.chunks, nil)
	}
	h.chunks[i] = &chunk{}
	h.open = append(h.open, i)
}

// drop frees the memory of an empty chunk.
func (h *Heap) drop(i uint32) {
	place, last := h.chunks[i].place, len(h.open)-1
	h.open[place] = h.open[last]
	h.chunks[h.open[place]].place = place
	h.open = h.open[:last]
	h.chunks[i] = nil
	h.unused = append(h.unused, i)
}
