package redislimit

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/ratekeep/ratelimit/fixedwindow"
	"github.com/ratekeep/ratelimit/slidinglog"
	"github.com/ratekeep/ratelimit/slidingwindow"
	"github.com/ratekeep/ratelimit/tokenbucket"
)

// newCluster starts three servers with a third of the slots each, and a replica
// of the first.
func newCluster(t *testing.T) (servers []*server, client *redis.ClusterClient) {
	t.Helper()
	ctx := context.Background()
	var nodes []*redis.Client
	for range 4 {
		s := newServer(t, "--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--cluster-config-file", "nodes.conf",
			"--cluster-replica-validity-factor", "0", "--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0")
		servers = append(servers, s)
		nodes = append(nodes, s.client(t))
	}
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for i, n := range nodes[:3] {
		check(n.ClusterAddSlotsRange(ctx, 16384*i/3, 16384*(i+1)/3-1).Err())
		check(n.Do(ctx, "cluster", "set-config-epoch", i+1).Err())
	}
	for _, s := range servers[1:] {
		check(nodes[0].ClusterMeet(ctx, "127.0.0.1", fmt.Sprint(s.port)).Err())
	}
	first := nodes[0].ClusterMyID(ctx).Val()
	eventually(t, "the nodes know each other", func() bool {
		for _, n := range nodes {
			if strings.Count(n.ClusterNodes(ctx).Val(), "connected") != 4 {
				return false
			}
		}
		return true
	})
	eventually(t, "the fourth is a replica", func() bool { return nodes[3].ClusterReplicate(ctx, first).Err() == nil })
	eventually(t, "the Cluster is ready", func() bool {
		for _, n := range nodes {
			if !strings.Contains(n.ClusterInfo(ctx).Val(), "cluster_state:ok") {
				return false
			}
		}
		return strings.Contains(nodes[3].Info(ctx, "replication").Val(), "master_link_status:up")
	})
	client = redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{servers[1].addr(), servers[2].addr()}, ContextTimeoutEnabled: true})
	t.Cleanup(func() { client.Close() })
	return servers, client
}

func TestCluster(t *testing.T) {
	ctx := context.Background()
	servers, client := newCluster(t)
	options := Options{Timeout: 5 * time.Second, Cooldown: 20 * time.Millisecond}
	must := func(l *Limiter, err error) *Limiter {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	config := fixedwindow.Config{Limit: 1000, Window: 3660 * 24 * time.Hour}
	l := must(New(config, client, options))
	all := must(All(l,
		must(New(tokenbucket.Config{Limit: 2000, Window: time.Hour}, client, options)),
		must(New(slidingwindow.Config{Limit: 3, Window: 3660 * 24 * time.Hour}, client, options)),
		must(New(slidinglog.Config{Limit: 4, Window: time.Hour}, client, options))))

	// All limits of a key are in one slot, whatever the key.
	random := rand.New(rand.NewPCG(1, 2))
	keys := []string{"", "{", "}", "{}", "}{", "{a}b", "a}b", "a{b", "a{}b", "\x00", "\xff\xfe", strings.Repeat("x", 1000)}
	for range 100 {
		keys = append(keys, fmt.Sprint(random.Uint64()))
	}
	var requests []Request
	for _, key := range keys {
		for i := range 4 {
			if d := take(t, all, key, 1); d.Allowed != (i < 3) {
				t.Fatalf("of All, key %q: Take %d = %+v", key, i, d)
			}
		}
		requests = append(requests, Request{key, 1})
	}

	// A batch for all of them, also where scripts are not known.
	for i := range 3 {
		decisions, err := l.Batch(ctx, requests)
		if err != nil {
			t.Fatal(err)
		}
		for j, d := range decisions {
			if want := 1000 - 3 - i - 1; !d.Allowed || d.Remaining != want {
				t.Errorf("key %q: %+v, want %d remaining", keys[j], d, want)
			}
		}
		for _, s := range servers[:3] {
			if err := s.client(t).ScriptFlush(ctx).Err(); err != nil {
				t.Fatal(err)
			}
		}
	}

	// The first server dies; its keys are refused until the replica is in its
	// place, and the others are not.
	var lost, kept string
	for _, key := range keys {
		switch s := int(client.ClusterKeySlot(ctx, l.keys(nil, key)[0].(string)).Val()); {
		case s != slot(tagOf(l, key)):
			t.Fatalf("key %q is in slot %d, and not in %d", key, s, slot(tagOf(l, key)))
		case s < 16384/3-256:
			lost = key
		case s > 16384/3+256:
			kept = key
		}
	}
	replica := servers[3].client(t)
	if err := servers[0].client(t).Do(ctx, "wait", 1, 10000).Err(); err != nil {
		t.Fatal(err)
	}
	servers[0].kill()
	refused, admitted := 0, 0
	eventually(t, "the replica takes over", func() bool {
		switch d, err := l.Take(ctx, lost, 1); {
		case err == nil && d.Allowed:
			admitted++
		case err != nil && !d.Allowed:
			refused++
		default:
			t.Fatalf("key %q: %+v, %v", lost, d, err)
		}
		if _, err := l.Take(ctx, kept, 1); err != nil && !strings.Contains(err.Error(), "CLUSTERDOWN") {
			t.Fatalf("key %q of another server: %v", kept, err)
		}
		return admitted == 100
	})
	if refused == 0 {
		t.Error("nothing was refused")
	}
	if !strings.Contains(replica.Info(ctx, "replication").Val(), "role:master") {
		t.Error("the replica is none of the masters")
	}
	if d := take(t, l, lost, 0); d.Remaining != 1000-6-admitted {
		t.Errorf("%d remain, and %d were admitted after 6", d.Remaining, admitted)
	}
}

func tagOf(l *Limiter, key string) string {
	tag, _, _ := strings.Cut(l.options.Prefix+":"+key, "}")
	return tag
}
