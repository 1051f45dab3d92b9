//go:build !race

package keyed_test

const raced = false
