package main

import (
	"runtime"
	"strings"
	"sync"
	"testing"
)

// The benchmarks time what the cost table times, by the same loops, for use with
// benchstat:
//
//	go test -run '^$' -bench Allow/ -count 10 . | tee new.txt
//	benchstat -col /impl new.txt

func BenchmarkAllow(b *testing.B)         { benchmark(b, allow, false) }
func BenchmarkAllowAllCores(b *testing.B) { benchmark(b, allow, true) }
func BenchmarkTake(b *testing.B)          { benchmark(b, take, false) }
func BenchmarkWait(b *testing.B)          { benchmark(b, wait, false) }

func benchmark(b *testing.B, verb string, allCores bool) {
	name := strings.NewReplacer("/", "-", " + ", "-", " ", "-") // a slash would end the value
	for _, im := range append(floors[:len(floors):len(floors)], implementations()...) {
		for _, id := range rowsOf(im) {
			if id.Verb != verb || id.AllCores != allCores {
				continue
			}
			b.Run("impl="+name.Replace(id.Impl)+"/path="+string(id.Path)+"/clock="+id.Clock, func(b *testing.B) {
				benchmarkRow(b, &row{rowID: id, impl: im})
			})
		}
	}
}

func benchmarkRow(b *testing.B, r *row) {
	run, stop, err := r.setUp()
	if err != nil {
		b.Fatal(err)
	}
	defer stop()
	timeLoop(run, 1, warmUp)
	b.ReportAllocs()
	b.ResetTimer()
	if !r.AllCores {
		callTimes(run, b.N)
		return
	}
	workers := runtime.GOMAXPROCS(0)
	var done sync.WaitGroup
	for range workers {
		done.Go(func() { callTimes(run, b.N/workers+1) })
	}
	done.Wait()
}

// callTimes makes n calls, in chunks like the cost table.
func callTimes(run loop, n int) {
	for ; n > 0; n -= chunk {
		run(min(n, chunk))
	}
}
