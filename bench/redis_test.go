package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
)

// freeAddr is where nobody listens.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// startRedis starts a server, for this test alone.
func startRedis(t *testing.T) (addr string) {
	t.Helper()
	binary, err := exec.LookPath("redis-server")
	if err != nil {
		binary, err = exec.LookPath("valkey-server")
	}
	if err != nil {
		const message = "neither redis-server nor valkey-server is installed: apt-get install redis-server"
		if os.Getenv("REDISLIMIT_REQUIRE_SERVER") != "" {
			t.Fatal(message)
		}
		t.Skip(message)
	}
	addr = freeAddr(t)
	_, port, _ := net.SplitHostPort(addr)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	server := exec.Command(binary, "--port", port, "--bind", "127.0.0.1", "--dir", t.TempDir(), "--save", "")
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		server.Process.Kill()
		server.Wait()
	})
	redis.SetLogger(&logging.VoidLogger{})
	client := redis.NewClient(&redis.Options{Addr: addr})
	defer client.Close()
	for client.Ping(ctx).Err() != nil {
		if ctx.Err() != nil {
			t.Fatal("the server does not answer")
		}
	}
	return addr
}

func TestRedisCommand(t *testing.T) {
	quickPlan = costPlan{budget: time.Nanosecond}
	addr := startRedis(t)
	status, stdout, stderr := runCommand(t, "", "-quick", "-redis", addr)
	if status != 0 || stderr != "" {
		t.Fatalf("status %d, stderr %q", status, stderr)
	}
	for _, want := range []string{"1 caller", "8 callers", "64 callers", "PING", "redis_rate, granted", "redislimit, refused", "and remembered",
		"MEMORY USAGE", "tokenbucket", "leakybucket", "fixedwindow", "slidingwindow", "slidinglog"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("%s is missing:\n%s", want, stdout)
		}
	}
	client := redis.NewClient(&redis.Options{Addr: addr})
	defer client.Close()
	if keys, err := client.Keys(context.Background(), "*").Result(); err != nil || len(keys) != 0 {
		t.Errorf("it leaves behind %q, %v", keys, err)
	}

	status, stdout, stderr = runCommand(t, "", "-quick", "-redis", freeAddr(t))
	if status != 1 || stdout != "" || !strings.Contains(stderr, "-redis 127.0.0.1:") || !strings.Contains(stderr, "refused") {
		t.Errorf("without a server: status %d, %q, %q", status, stdout, stderr)
	}
}

// The ratios are of the calls' own kind, and the latencies those of all samples.
func TestRedisTable(t *testing.T) {
	calls := make([]redisCall, 8)
	samples := make([]redisSamples, 8)
	for i := range samples {
		calls[i].name = fmt.Sprint("call ", i)
		samples[i] = redisSamples{calls: 10 * (i + 1), elapsed: time.Second}
		for j := range 100 {
			samples[i].each = append(samples[i].each, time.Duration(i+1)*time.Duration(100-j)*time.Microsecond)
		}
	}
	rows := redisTable(1, calls, samples).Rows
	for i, want := range []string{
		"call 0 10 51.0 91.0 100.0 100.0 100.0 1.00 –",
		"call 1 20 102.0 182.0 200.0 200.0 200.0 2.00 1.00",
		"call 2 30 153.0 273.0 300.0 300.0 300.0 3.00 1.50",
		"call 3 40 204.0 364.0 400.0 400.0 400.0 4.00 2.00",
		"call 4 50 255.0 455.0 500.0 500.0 500.0 5.00 2.50",
		"call 5 60 306.0 546.0 600.0 600.0 600.0 6.00 1.00",
		"call 6 70 357.0 637.0 700.0 700.0 700.0 7.00 1.17",
		"call 7 80 408.0 728.0 800.0 800.0 800.0 8.00 1.33",
	} {
		if got := strings.Join(rows[i], " "); got != want {
			t.Errorf("row %d is %q, want %q", i, got, want)
		}
	}
}
