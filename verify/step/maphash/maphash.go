// Package maphash is hash/maphash with one seed for all, so that a program takes
// the same steps each time.
package maphash

import "hash/maphash"

// Seed is the one there is.
type Seed struct{}

var seed = maphash.MakeSeed()

func MakeSeed() Seed { return Seed{} }

func Comparable[T comparable](_ Seed, v T) uint64 { return maphash.Comparable(seed, v) }
