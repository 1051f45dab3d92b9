package httplimit

import (
	"context"
	"time"

	"github.com/ratekeep/ratelimit"
)

// Store keeps the counts of one limit, by key. It is how several servers share
// their limits: each method is asked of the place where the counts are.
//
// A request that several limits apply to is put to all of them with Peek
// before any is asked to Take, and what was taken is given back with Refund if
// a later one refuses or fails. All methods are safe for concurrent use. They
// return the context's error if that is done first. An error means that nothing
// was decided; what happens then is [Config.AdmitOnError]'s choice.
type Store interface {
	// Take takes n from what the key has left, or nothing.
	Take(ctx context.Context, key string, n int) (ratelimit.Decision, error)

	// Peek answers what Take would, and takes nothing.
	Peek(ctx context.Context, key string, n int) (ratelimit.Decision, error)

	// Refund undoes what d took, as far as it still counts. Its context is not
	// done when the request's is.
	Refund(ctx context.Context, key string, d ratelimit.Decision) error

	// Reset makes the key as good as new.
	Reset(ctx context.Context, key string) error
}

// Spec is what a [Store] is to enforce.
type Spec struct {
	// ID tells a Store's limit from all others of the Limiter: where it stands
	// in the Config. Servers that are configured alike have the same IDs. The
	// plans of one limit have the same ID, and each plan may count for itself.
	// A Store must keep limits of different ID apart, even if all else is the
	// same.
	ID string

	Plan     string // of Limit.Plans, or "" for Limit.Rate
	Strategy Strategy
	Count    int
	Window   time.Duration
	Burst    int // as Limit.Burst: 0 means Count
}
