package notation

import (
	"fmt"
	"testing"
)

func BenchmarkParse(b *testing.B) {
	for _, s := range []string{"5/minute", "5/second; 60 per minute; 2500 per hour", "100/1m30s", "5/fortnight"} {
		b.Run(fmt.Sprintf("input=%q", s), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Parse(s)
			}
		})
	}
}

// Linear: the bytes per second are the same at any size.
func BenchmarkParseHostile(b *testing.B) {
	for _, h := range hostile {
		for _, size := range []int{1 << 12, 1 << 16, 1 << 20} {
			b.Run(fmt.Sprintf("input=%s/size=%d", h.name, size), func(b *testing.B) {
				s := h.of(size)
				b.SetBytes(int64(len(s)))
				for b.Loop() {
					Parse(s)
				}
			})
		}
	}
}

func BenchmarkString(b *testing.B) {
	for _, l := range []Limit{{5, minute}, {5, 15 * minute}, {5, 1500 * ns}} {
		b.Run(fmt.Sprintf("limit=%q", l), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_ = l.String()
			}
		})
	}
}
