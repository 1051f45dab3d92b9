package redislimit

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// health is what a process knows of how its server is. The limits of a Store
// share one, and an All has that of its first.
type health struct {
	breakers []breaker             // one, or of a Cluster one for each range of slots
	trouble  atomic.Pointer[error] // why the server did not decide, the last time

	mu     sync.Mutex    // for changes of trouble
	told   bool          // whether the logger knows of it
	tellAt time.Duration // not before this reading of the clock
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
	h.mu.Lock()
	defer h.mu.Unlock()
	h.trouble.Store(nil)
	if h.told {
		h.told = false
		log.Info("redislimit: the server decides again")
	}
}

// failed notes that the server does not decide.
func (h *health) failed(err error, log *slog.Logger, now, cooldown time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.trouble.Store(&err)
	if log != nil && !h.told && now >= h.tellAt {
		h.told, h.tellAt = true, now+cooldown
		log.Error(err.Error())
	}
}
