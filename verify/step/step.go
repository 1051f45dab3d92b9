// Package step takes a limiter apart into the steps that other goroutines can
// see: packages step/atomic, step/sync and step/runtime stand in for the
// standard library's, and pause before each of their operations. What is built
// against them can be interleaved at will, on any number of processors.
//
// The limiters themselves know nothing of this. The tests of package verify
// build them with those imports replaced.
package step

import "runtime"

var (
	// Pause is called before each operation. It must not be changed while
	// there are any.
	Pause = func() {}

	// Yield is called where a goroutine cannot go on before others have.
	Yield = runtime.Gosched
)
