package httplimit_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"

	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/httplimit"
)

// hello is a handler for examples.
func hello(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello\n") }

// get prints what a client is told.
func get(h http.Handler, path string) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
	fmt.Print(path, " ", w.Code, " ", w.Body)
}

func Example() {
	mux := http.NewServeMux()
	mux.HandleFunc("/fast", hello)
	mux.HandleFunc("/slow", hello)
	mux.HandleFunc("/ping", hello)

	limits, err := httplimit.New(httplimit.Config{
		Defaults: []httplimit.Limit{{Rate: "2 per minute; 1 per second"}},
		Routes: map[string]httplimit.Route{
			"/slow": {Limits: []httplimit.Limit{{Rate: "1 per day"}}},
			"/ping": {Exempt: true},
		},
		Clock: clock.NewFake(), // leave Clock out for real time
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	server := limits.Middleware(mux) // http.ListenAndServe(addr, server)

	get(server, "/fast")
	get(server, "/fast")
	get(server, "/slow")
	get(server, "/slow")
	get(server, "/ping")
	get(server, "/ping")
	fmt.Print(limits)
	// Output:
	// /fast 200 hello
	// /fast 429 Too Many Requests: 1 per second
	// /slow 200 hello
	// /slow 429 Too Many Requests: 1 per day
	// /ping 200 hello
	// /ping 200 hello
	// /ping
	// └── exempt
	// /slow
	// └── 1 per day, tokenbucket
	// /fast
	// ├── 2 per minute, tokenbucket
	// └── 1 per second, tokenbucket
	// every other route
	// ├── 2 per minute, tokenbucket
	// └── 1 per second, tokenbucket
}
