// Package atomic is sync/atomic with a pause before each operation.
package atomic

import (
	"sync/atomic"

	"github.com/ratekeep/ratelimit/verify/step"
)

// Int64 is an atomic.Int64.
type Int64 struct{ v atomic.Int64 }

func (x *Int64) Load() int64           { step.Pause(); return x.v.Load() }
func (x *Int64) Store(val int64)       { step.Pause(); x.v.Store(val) }
func (x *Int64) Swap(new int64) int64  { step.Pause(); return x.v.Swap(new) }
func (x *Int64) Add(delta int64) int64 { step.Pause(); return x.v.Add(delta) }
func (x *Int64) CompareAndSwap(old, new int64) bool {
	step.Pause()
	return x.v.CompareAndSwap(old, new)
}

// Uint64 is an atomic.Uint64.
type Uint64 struct{ v atomic.Uint64 }

func (x *Uint64) Load() uint64            { step.Pause(); return x.v.Load() }
func (x *Uint64) Store(val uint64)        { step.Pause(); x.v.Store(val) }
func (x *Uint64) Swap(new uint64) uint64  { step.Pause(); return x.v.Swap(new) }
func (x *Uint64) Add(delta uint64) uint64 { step.Pause(); return x.v.Add(delta) }
func (x *Uint64) CompareAndSwap(old, new uint64) bool {
	step.Pause()
	return x.v.CompareAndSwap(old, new)
}

func (x *Uint64) And(mask uint64) uint64 { step.Pause(); return x.v.And(mask) }
func (x *Uint64) Or(mask uint64) uint64  { step.Pause(); return x.v.Or(mask) }

func LoadUint64(addr *uint64) uint64       { step.Pause(); return atomic.LoadUint64(addr) }
func StoreUint64(addr *uint64, val uint64) { step.Pause(); atomic.StoreUint64(addr, val) }
func SwapUint64(addr *uint64, new uint64) uint64 {
	step.Pause()
	return atomic.SwapUint64(addr, new)
}
func CompareAndSwapUint64(addr *uint64, old, new uint64) bool {
	step.Pause()
	return atomic.CompareAndSwapUint64(addr, old, new)
}

// Int32 is an atomic.Int32.
type Int32 struct{ v atomic.Int32 }

func (x *Int32) Load() int32           { step.Pause(); return x.v.Load() }
func (x *Int32) Store(val int32)       { step.Pause(); x.v.Store(val) }
func (x *Int32) Swap(new int32) int32  { step.Pause(); return x.v.Swap(new) }
func (x *Int32) Add(delta int32) int32 { step.Pause(); return x.v.Add(delta) }
func (x *Int32) CompareAndSwap(old, new int32) bool {
	step.Pause()
	return x.v.CompareAndSwap(old, new)
}

// Uint32 is an atomic.Uint32.
type Uint32 struct{ v atomic.Uint32 }

func (x *Uint32) Load() uint32            { step.Pause(); return x.v.Load() }
func (x *Uint32) Store(val uint32)        { step.Pause(); x.v.Store(val) }
func (x *Uint32) Swap(new uint32) uint32  { step.Pause(); return x.v.Swap(new) }
func (x *Uint32) Add(delta uint32) uint32 { step.Pause(); return x.v.Add(delta) }
func (x *Uint32) CompareAndSwap(old, new uint32) bool {
	step.Pause()
	return x.v.CompareAndSwap(old, new)
}

// Bool is an atomic.Bool.
type Bool struct{ v atomic.Bool }

func (x *Bool) Load() bool                        { step.Pause(); return x.v.Load() }
func (x *Bool) Store(val bool)                    { step.Pause(); x.v.Store(val) }
func (x *Bool) Swap(new bool) bool                { step.Pause(); return x.v.Swap(new) }
func (x *Bool) CompareAndSwap(old, new bool) bool { step.Pause(); return x.v.CompareAndSwap(old, new) }

// Pointer is an atomic.Pointer.
type Pointer[T any] struct{ v atomic.Pointer[T] }

func (x *Pointer[T]) Load() *T       { step.Pause(); return x.v.Load() }
func (x *Pointer[T]) Store(val *T)   { step.Pause(); x.v.Store(val) }
func (x *Pointer[T]) Swap(new *T) *T { step.Pause(); return x.v.Swap(new) }
func (x *Pointer[T]) CompareAndSwap(old, new *T) bool {
	step.Pause()
	return x.v.CompareAndSwap(old, new)
}
