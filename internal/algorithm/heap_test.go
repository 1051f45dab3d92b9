package algorithm

import (
	"math/rand/v2"
	"testing"
	"unsafe"
)

// TestHeap compares a heap with a map, while it grows and shrinks.
func TestHeap(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var h Heap
	model := map[uint32]Entry{}
	var numbers []uint32
	for step := range 200_000 {
		// It grows for a while, and then shrinks.
		if grows := step/10_000%2 == 0; len(numbers) == 0 || rng.IntN(3) < 2 == grows {
			n := h.New()
			if _, ok := model[n]; ok || n == 0 {
				t.Fatalf("step %d: New() = %d, which is in use, or none", step, n)
			}
			e := Entry{At: rng.Int64(), N: rng.Uint32(), Next: rng.Uint32()}
			*h.At(n) = e
			model[n] = e
			numbers = append(numbers, n)
		} else {
			i := rng.IntN(len(numbers))
			n := numbers[i]
			if got := *h.At(n); got != model[n] {
				t.Fatalf("step %d: entry %d is %+v, want %+v", step, n, got, model[n])
			}
			h.Free(n)
			delete(model, n)
			numbers[i] = numbers[len(numbers)-1]
			numbers = numbers[:len(numbers)-1]
		}
		if step%1000 == 0 {
			for n, e := range model {
				if got := *h.At(n); got != e {
					t.Fatalf("step %d: entry %d is %+v, want %+v", step, n, got, e)
				}
			}
		}
	}
	for _, n := range numbers {
		h.Free(n)
	}
	if n := h.Chunks(); n > 1 {
		t.Errorf("%d chunks are left of nothing", n)
	}
	if len(h.chunks) > 400 {
		t.Errorf("there have been %d chunks: those that were given back are not used again", len(h.chunks))
	}
}

// TestHeapIsTight fills chunks one after the other.
func TestHeapIsTight(t *testing.T) {
	var h Heap
	for i := range 10 * perChunk {
		if n := h.New(); n != uint32(i+1) {
			t.Fatalf("New() = %d, want %d", n, i+1)
		}
		if want := i/perChunk + 1; h.Chunks() != want {
			t.Fatalf("%d chunks for %d entries, want %d", h.Chunks(), i+1, want)
		}
	}
	// One in each is free again: these are used first.
	for i := range 10 {
		h.Free(uint32(i*perChunk + 7))
	}
	for range 10 {
		h.New()
	}
	if h.Chunks() != 10 {
		t.Errorf("%d chunks, want 10", h.Chunks())
	}
	for i := range 10 * perChunk {
		h.Free(uint32(i + 1))
	}
	if h.Chunks() != 1 {
		t.Errorf("%d chunks are left of nothing, want 1", h.Chunks())
	}
	if size := unsafe.Sizeof(chunk{}); size > 1024 {
		t.Errorf("a chunk has %d bytes", size)
	}
	if size := unsafe.Sizeof(Entry{}); size != 16 {
		t.Errorf("an entry has %d bytes", size)
	}
}

// TestHeapTakesRingsBack gives rings back whole, while others are in use: each
// entry comes back once, and as many as are given make room for those to come.
func TestHeapTakesRingsBack(t *testing.T) {
	var h Heap
	ring := func(size int) (newest uint32) {
		for range size {
			n := h.New()
			*h.At(n) = Entry{Next: n}
			if newest > 0 {
				h.At(n).Next, h.At(newest).Next = h.At(newest).Next, n
			}
			newest = n
		}
		return newest
	}
	kept := ring(1000)
	for size := 1; size < 200; size++ {
		h.FreeRing(ring(size))
	}
	h.sweep(1 << 20)
	h.FreeRing(ring(10_000))
	most := h.Chunks()
	for range 20 {
		h.FreeRing(ring(5_000))
	}
	if got := h.Chunks(); got > most {
		t.Errorf("%d chunks, and %d before what was given back was used again", got, most)
	}
	seen, n := map[uint32]bool{}, kept
	for range 1000 {
		if seen[n] {
			t.Fatalf("entry %d comes twice in a ring that was kept", n)
		}
		seen[n] = true
		n = h.At(n).Next
	}
	if n != kept {
		t.Error("the ring that was kept has lost its end")
	}
	h.sweep(1 << 20)
	h.FreeRing(kept)
	h.sweep(1 << 20)
	if got := h.Chunks(); got > 1 {
		t.Errorf("%d chunks are left of nothing", got)
	}
}
