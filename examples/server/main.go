// Server is a small web server on which every route shows another kind of limit:
//
//	go run ./examples/server
//
// prints what to try with curl.
package main

import (
	"errors"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/ratekeep/ratelimit/clock"
)

func main() {
	addr := flag.String("addr", "localhost:8080", "where to listen")
	flag.Parse()
	log.SetFlags(0)

	limits, err := newLimits(clock.System(), slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("The limits, by route:\n\n%v\nTry:\n\n", limits)
	for _, t := range tries {
		fmt.Printf("  # %s\n  %s\n\n", t.about, t.curl("http://"+listener.Addr().String()))
	}

	server := &http.Server{
		Handler:           limits.Middleware(newMux()),
		ReadHeaderTimeout: 5 * time.Second,
	}
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
}
