package ratelimit

import (
	"errors"

	"github.com/ratekeep/ratelimit/internal/fifo"
)

var (
	// ErrExceedsLimit is wrapped by the error of a WaitN whose n can never be
	// admitted, because it is negative or above the limit.
	ErrExceedsLimit = errors.New("ratelimit: can never be admitted")

	// ErrWouldExceedDeadline is wrapped by the error of a WaitN that gives up
	// at once, because the context's deadline comes before the events can be
	// admitted. It wraps [context.DeadlineExceeded].
	ErrWouldExceedDeadline = fifo.ErrWouldExceedDeadline

	// ErrQueueFull is wrapped by the error of a WaitN of package leakybucket
	// that finds no room in line.
	ErrQueueFull = fifo.ErrQueueFull
)
