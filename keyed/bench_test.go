package keyed_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/ratekeep/ratelimit/keyed"
	"github.com/ratekeep/ratelimit/tokenbucket"
)

// BenchmarkAllow asks for one key after the other, which lie anywhere in the table.
// Command bench of this repository compares it with the floor, and with others.
func BenchmarkAllow(b *testing.B) {
	for _, keys := range []int{1 << 10, 1 << 20} {
		names := make([]string, keys)
		for i := range names {
			names[i] = fmt.Sprintf("client-%d", i)
		}
		for _, path := range []struct {
			name   string
			config tokenbucket.Config
		}{
			{"granted", tokenbucket.Config{Limit: 10_000, Window: 24 * time.Hour, Burst: 1 << 25}},
			{"refused", tokenbucket.Config{Limit: 1, Window: 300 * 24 * time.Hour}},
		} {
			l := keyed.MustNew[string](path.config, keyed.Options{MaxKeys: keys})
			for _, name := range names {
				l.Allow(name)
			}
			b.Run(fmt.Sprintf("keys=%d/path=%s", keys, path.name), func(b *testing.B) {
				i := 0
				for b.Loop() {
					l.Allow(names[i])
					i = (i + 1) % keys
				}
			})
			b.Run(fmt.Sprintf("keys=%d/path=%s/parallel", keys, path.name), func(b *testing.B) {
				b.RunParallel(func(pb *testing.PB) {
					i := 0
					for pb.Next() {
						l.Allow(names[i])
						i = (i + 1) % keys
					}
				})
			})
		}
	}
}

// BenchmarkNewKey is the cost of a key that was never seen, the growth of the
// table included; and what the memory and a garbage collection come to.
func BenchmarkNewKey(b *testing.B) {
	const keys = 1_000_000
	for _, exact := range []bool{false, true} {
		b.Run(fmt.Sprintf("exact=%t", exact), func(b *testing.B) {
			var before, after runtime.MemStats
			for b.Loop() {
				runtime.GC()
				runtime.ReadMemStats(&before)
				l := keyed.MustNew[uint64](tokenbucket.Config{Limit: 1, Window: time.Hour}, keyed.Options{MaxKeys: keys, Exact: exact})
				start := time.Now()
				for k := range uint64(keys) {
					l.Allow(k)
				}
				b.ReportMetric(float64(time.Since(start))/keys, "ns/key")
				start = time.Now()
				runtime.GC()
				b.ReportMetric(float64(time.Since(start).Microseconds()), "µs/GC")
				runtime.ReadMemStats(&after)
				b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/keys, "B/key")
				b.ReportMetric(float64(after.HeapObjects-before.HeapObjects)/keys, "objects/key")
				runtime.KeepAlive(l)
			}
		})
	}
}
