package redislimit

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
)

// requireServer is the variable that makes a missing server a failure.
const requireServer = "REDISLIMIT_REQUIRE_SERVER"

// patience is how long a test waits for what must come; it is not what it
// measures by.
const patience = 30 * time.Second

// serverBinary is the server that is installed.
var serverBinary = sync.OnceValue(func() string {
	for _, name := range []string{"valkey-server", "redis-server"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
})

// needServer skips the test where no server is installed.
func needServer(t testing.TB) {
	t.Helper()
	if serverBinary() != "" {
		return
	}
	const message = "neither valkey-server nor redis-server is installed: apt-get install redis-server"
	if os.Getenv(requireServer) != "" {
		t.Fatal(message)
	}
	t.Skip(message)
}

// server is a process of a server's.
type server struct {
	port int
	dir  string
	args []string // of which the first may be a file
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
}

// newServer starts a server on a free port, with a directory of its own, and
// stops it when the test ends.
func newServer(t testing.TB, args ...string) *server {
	t.Helper()
	needServer(t)
	dir, err := os.MkdirTemp("", "redislimit")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &server{port: freePort(t), dir: dir, args: args}
	t.Cleanup(s.kill)
	s.start(t)
	return s
}

// freePort is a port that nobody listens on, and none on the one 10000 above it,
// which a node of a Cluster needs too.
func freePort(t testing.TB) int {
	t.Helper()
	for range 1000 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		l.Close()
		if port+10000 > 65535 {
			continue
		}
		bus, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port+10000))
		if err == nil {
			bus.Close()
			return port
		}
	}
	t.Fatal("no free port")
	return 0
}

func (s *server) addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// start starts the process, and returns once it answers.
func (s *server) start(t testing.TB) {
	t.Helper()
	args := slices.Concat(s.args, []string{"--port", strconv.Itoa(s.port), "--bind", "127.0.0.1", "--dir", s.dir, "--save", "", "--daemonize", "no"})
	s.cmd = exec.Command(serverBinary(), args...)
	out, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	s.cmd.Stdout, s.cmd.Stderr = out, out
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	s.done = done
	go func(cmd *exec.Cmd) {
		cmd.Wait()
		close(done)
	}(s.cmd)
	c := redis.NewClient(&redis.Options{Addr: s.addr(), MaxRetries: -1})
	defer c.Close()
	eventually(t, "the server answers", func() bool {
		select {
		case <-done:
			log, _ := os.ReadFile(filepath.Join(s.dir, "log"))
			t.Fatalf("the server ended: %s", log)
		default:
		}
		return c.Ping(context.Background()).Err() == nil
	})
}

// kill ends the process as a crash would.
func (s *server) kill() {
	if s.cmd != nil {
		s.cmd.Process.Kill()
		<-s.done
		s.cmd = nil
	}
}

// client returns a client, which is closed when the test ends.
func (s *server) client(t testing.TB) *redis.Client {
	c := redis.NewClient(&redis.Options{Addr: s.addr(), ContextTimeoutEnabled: true})
	t.Cleanup(func() { c.Close() })
	return c
}

// sharedServer is one for all tests that do not mind what the others do.
var sharedServer = struct {
	sync.Mutex
	*server
}{}

// shared returns a client of the shared server.
func shared(t testing.TB) *redis.Client {
	t.Helper()
	needServer(t)
	sharedServer.Lock()
	defer sharedServer.Unlock()
	if sharedServer.server == nil {
		dir, err := os.MkdirTemp("", "redislimit")
		if err != nil {
			t.Fatal(err)
		}
		s := &server{port: freePort(t), dir: dir}
		s.start(t)
		sharedServer.server = s
	}
	return sharedServer.client(t)
}

// eventually returns when done returns true, and fails if that takes too long.
func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !done() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
		time.Sleep(time.Millisecond)
	}
}

// TestMain is a client where that is asked for; see [TestProcesses]. Otherwise it
// skips those rules of the conformance suite that do not apply.
func TestMain(m *testing.M) {
	if os.Getenv(clientOf) != "" {
		if err := hammer(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	flag.Parse()
	skip := []string{skippedRules, slowRules, flag.Lookup("test.skip").Value.String()}
	if os.Getenv(everyRule) != "" {
		skip[1] = ""
	}
	skip = slices.DeleteFunc(skip, func(s string) bool { return s == "" })
	if err := flag.Set("test.skip", strings.Join(skip, "|")); err != nil {
		panic(err)
	}
	redis.SetLogger(&logging.VoidLogger{})
	code := m.Run()
	if s := sharedServer.server; s != nil {
		s.kill()
		os.RemoveAll(s.dir)
	}
	os.Exit(code)
}
