package redislimit

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/ratekeep/ratelimit/fixedwindow"
	"github.com/ratekeep/ratelimit/leakybucket"
	"github.com/ratekeep/ratelimit/slidinglog"
	"github.com/ratekeep/ratelimit/slidingwindow"
	"github.com/ratekeep/ratelimit/tokenbucket"
)

// The variables that make the test's program a client: of what server, and of
// which limiter.
const (
	clientOf   = "REDISLIMIT_TEST_CLIENT_OF"
	clientKind = "REDISLIMIT_TEST_CLIENT_KIND"
)

const (
	hammered       = 20_000
	hammeredWindow = 2 * time.Hour
)

// hammer takes from one key with several goroutines until nothing is left, and
// prints how many it got.
func hammer() error {
	client := redis.NewClient(&redis.Options{Addr: os.Getenv(clientOf)})
	defer client.Close()
	l, err := limiterOf(os.Getenv(clientKind), client)
	if err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil { // until all are here
		return err
	}
	const goroutines = 8
	type result struct {
		got int
		err error
	}
	results := make(chan result)
	for i := range goroutines {
		go func() {
			var r result
			for n := 1 + i%3; n > 0; {
				d, err := l.Take(context.Background(), "key", n)
				if err != nil {
					r.err = err
					break
				}
				if d.Allowed {
					r.got += n
				} else {
					n--
				}
			}
			results <- r
		}()
	}
	sum := 0
	for range goroutines {
		r := <-results
		if r.err != nil {
			return r.err
		}
		sum += r.got
	}
	fmt.Println(sum)
	return nil
}

func limiterOf(kind string, client redis.UniversalClient) (*Limiter, error) {
	o := Options{Prefix: "hammered " + kind, Timeout: time.Minute}
	switch kind {
	case "tokenbucket":
		return New(tokenbucket.Config{Limit: hammered, Window: hammeredWindow}, client, o)
	case "leakybucket":
		return New(leakybucket.Config{Limit: hammered, Window: hammeredWindow}, client, o)
	case "fixedwindow":
		return New(fixedwindow.Config{Limit: hammered, Window: 3660 * 24 * time.Hour}, client, o)
	case "slidingwindow":
		return New(slidingwindow.Config{Limit: hammered, Window: 3660 * 24 * time.Hour}, client, o)
	case "slidinglog":
		return New(slidinglog.Config{Limit: hammered, Window: hammeredWindow}, client, o)
	case "leased":
		o.Lease = 10
		return New(slidinglog.Config{Limit: hammered, Window: hammeredWindow}, client, o)
	}
	return nil, fmt.Errorf("unknown kind %q", kind)
}

// Several processes take from one key: all that there is, and no more.
func TestProcesses(t *testing.T) {
	server := newServer(t)
	for _, kind := range []string{"tokenbucket", "leakybucket", "fixedwindow", "slidingwindow", "slidinglog", "leased"} {
		t.Run(kind, func(t *testing.T) {
			begun := time.Now()
			var processes []*exec.Cmd
			var gates []io.Closer
			for range 3 {
				p := exec.Command(os.Args[0])
				p.Env = append(os.Environ(), clientOf+"="+server.addr(), clientKind+"="+kind)
				p.Stdout, p.Stderr = new(bytes.Buffer), new(bytes.Buffer)
				gate, err := p.StdinPipe()
				if err != nil {
					t.Fatal(err)
				}
				if err := p.Start(); err != nil {
					t.Fatal(err)
				}
				processes, gates = append(processes, p), append(gates, gate)
			}
			for _, gate := range gates {
				gate.Close()
			}
			sum := 0
			for _, p := range processes {
				if err := p.Wait(); err != nil {
					t.Fatalf("%v: %s", err, p.Stderr)
				}
				n, err := strconv.Atoi(string(bytes.TrimSpace(p.Stdout.(*bytes.Buffer).Bytes())))
				if err != nil {
					t.Fatal(err)
				}
				sum += n
			}
			bound := hammered
			if kind == "tokenbucket" || kind == "leakybucket" {
				bound += int(hammered*time.Since(begun)/hammeredWindow) + 1
			}
			if sum < hammered || sum > bound {
				t.Errorf("%d are admitted, want from %d to %d", sum, hammered, bound)
			}
		})
	}
}
