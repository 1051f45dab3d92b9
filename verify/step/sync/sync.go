// Package sync is the standard library's, with a pause before each operation of
// a Mutex.
package sync

import (
	"sync"

	"github.com/ratekeep/ratelimit/verify/step"
)

// Mutex is a sync.Mutex. Who does not get it yields.
type Mutex struct{ mu sync.Mutex }

func (m *Mutex) Lock() {
	for step.Pause(); !m.mu.TryLock(); step.Pause() {
		step.Yield()
	}
}

func (m *Mutex) TryLock() bool { step.Pause(); return m.mu.TryLock() }
func (m *Mutex) Unlock()       { step.Pause(); m.mu.Unlock() }

type (
	Map       = sync.Map
	Once      = sync.Once
	Pool      = sync.Pool
	RWMutex   = sync.RWMutex
	WaitGroup = sync.WaitGroup
)
