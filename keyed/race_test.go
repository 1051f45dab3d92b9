//go:build race

package keyed_test

// raced is whether the race detector is on, which makes all slower by much.
const raced = true
