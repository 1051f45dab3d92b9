package redislimit

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/ratekeep/ratelimit/fixedwindow"
)

// Where a Sentinel watches, the replica takes the place of a master that dies, and
// decides on with what it has of its state.
func TestSentinel(t *testing.T) {
	ctx := context.Background()
	master := newServer(t)
	replica := newServer(t, "--replicaof", "127.0.0.1 "+strconv.Itoa(master.port), "--repl-diskless-sync-delay", "0")
	conf := filepath.Join(t.TempDir(), "sentinel.conf")
	watch := fmt.Sprintf("sentinel monitor limits 127.0.0.1 %d 1\nsentinel down-after-milliseconds limits 300\n", master.port)
	if err := os.WriteFile(conf, []byte(watch), 0o600); err != nil {
		t.Fatal(err)
	}
	sentinel := newServer(t, conf, "--sentinel")
	client := redis.NewFailoverClient(&redis.FailoverOptions{
		MasterName:            "limits",
		SentinelAddrs:         []string{sentinel.addr()},
		ContextTimeoutEnabled: true,
	})
	defer client.Close()
	l, err := New(fixedwindow.Config{Limit: 1000, Window: 3660 * 24 * time.Hour}, client, Options{Timeout: 5 * time.Second, Cooldown: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if !l.bounded {
		t.Error("the client is said to heed no deadline")
	}
	watching := redis.NewSentinelClient(&redis.Options{Addr: sentinel.addr()})
	defer watching.Close()
	eventually(t, "the Sentinel knows the replica", func() bool {
		replicas, err := watching.Replicas(ctx, "limits").Result()
		return err == nil && len(replicas) == 1 && replicas[0]["master-link-status"] == "ok"
	})
	for range 10 {
		if !take(t, l, "key", 1).Allowed {
			t.Fatal("10 of 1000 are refused")
		}
	}
	if err := master.client(t).Do(ctx, "wait", 1, 10000).Err(); err != nil {
		t.Fatal(err)
	}
	master.kill()
	refused, admitted := 0, 0
	eventually(t, "the replica takes over", func() bool {
		switch d, err := l.Take(ctx, "key", 1); {
		case err == nil && d.Allowed:
			admitted++
		case err != nil && !d.Allowed:
			refused++
		default:
			t.Fatalf("Take = %+v, %v", d, err)
		}
		return admitted == 100
	})
	if refused == 0 {
		t.Error("nothing was refused")
	}
	if d := take(t, l, "key", 0); d.Remaining != 1000-10-admitted {
		t.Errorf("%d remain, and %d were admitted after 10", d.Remaining, admitted)
	}
	if role := replica.client(t).Do(ctx, "role").Val().([]any)[0]; role != "master" {
		t.Errorf("the replica is a %v", role)
	}
}
