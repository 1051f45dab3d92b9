package redislimit

import (
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// health is what a process knows of how its server is. The limits of a Store
// share one, and so do those of an All.
type health struct {
	breakers []breaker             // one, or of a Cluster one for each range of slots
	trouble  atomic.Pointer[error] // why the server did not decide, the last time
	told     atomic.Bool           // whether the logger knows of it
	tellAt   atomic.Int64          // not before this reading of the clock
}

func newHealth(client redis.UniversalClient) *health {
	if _, ok := client.(*redis.ClusterClient); ok {
		return &health{breakers: make([]breaker, breakersOfCluster)}
	}
	return &health{breakers: make([]breaker, 1)}
}

// decided notes that the server decides.
func (h *health) decided(log *slog.Logger) {
	if h.trouble.Load() == nil {
		return
	}
	h.trouble.Store(nil)
	if log != nil && h.told.CompareAndSwap(true, false) {
		log.Info("redislimit: the server decides again")
	}
}

// failed notes that the server does not decide.
func (h *health) failed(err error, log *slog.Logger, now, cooldown time.Duration) {
	h.trouble.Store(&err)
	if at := h.tellAt.Load(); log != nil && int64(now) >= at && !h.told.Load() && h.tellAt.CompareAndSwap(at, int64(now+cooldown)) {
		h.told.Store(true)
		log.Error(err.Error())
	}
}
