package main

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// Each middleware does what its row says: lets all requests through, or none.
func TestHTTPImplsGrantAndRefuse(t *testing.T) {
	c, err := measureHTTP(costPlan{slice: 100 * time.Microsecond}, 1, func(float64) {})
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range c.Rows {
		if row.Granted <= 0 || (row.Refused <= 0) != (row.Impl == httpBare) {
			t.Errorf("%+v", row)
		}
		if row.Impl == "httplimit" && row.GrantedAllocs > 2 {
			t.Errorf("a request that httplimit lets through allocates %g times", row.GrantedAllocs)
		}
	}
	if got, want := len(c.table().Rows), len(httpImpls); got != want {
		t.Errorf("%d rows, want %d", got, want)
	}
}

func BenchmarkHTTP(b *testing.B) {
	for _, im := range httpImpls {
		for _, p := range []path{granted, refused} {
			if im.name == httpBare && p == refused {
				continue
			}
			b.Run("impl="+strings.NewReplacer(",", "", " ", "-").Replace(im.name)+"/path="+string(p), func(b *testing.B) {
				h, end, err := im.make(p, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
				if err != nil {
					b.Fatal(err)
				}
				if end != nil {
					defer end()
				}
				run := requests(h)
				run(1)
				b.ReportAllocs()
				for b.Loop() {
					run(1)
				}
			})
		}
	}
}
