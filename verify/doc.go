// Package verify checks the limiters under concurrency: that every history of
// calls is linearizable, that a long run conserves what was admitted, and, in
// README.md, why. It holds tests only.
package verify
