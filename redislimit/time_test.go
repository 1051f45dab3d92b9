package redislimit

import (
	"context"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// onTestTime is a clock for the scripts that a test sets: the time comes as one
// more argument. A state in the future,
// however far, is left there: readings may come in any order.
const onTestTime = `
local now = tonumber(ARGV[#ARGV])
local patience = math.huge
`

// onSteppedTime is a clock that a test sets, and that lives with being set back as
// the server's does.
var onSteppedTime = "local now = tonumber(ARGV[#ARGV])\n" + clockLua[strings.Index(clockLua, "local patience"):]

// farFuture is a time in microseconds that the server's own clock does not reach
// while a test runs, so that no key written at it expires.
var farFuture = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()

// timed is a client that tells the scripts the time.
type timed struct {
	redis.UniversalClient
	now  func() int64
	send func(now int64, c redis.Cmder) error
}

func (c *timed) Process(_ context.Context, cmd redis.Cmder) error { return c.send(c.now(), cmd) }

func (c *timed) Pipeline() redis.Pipeliner {
	return &timedPipeline{Pipeliner: c.UniversalClient.Pipeline(), client: c}
}

// timedPipeline sends its commands one by one.
type timedPipeline struct {
	redis.Pipeliner
	client *timed
	queue  []redis.Cmder
}

func (p *timedPipeline) Process(_ context.Context, cmd redis.Cmder) error {
	p.queue = append(p.queue, cmd)
	return nil
}

func (p *timedPipeline) Exec(ctx context.Context) ([]redis.Cmder, error) {
	for _, cmd := range p.queue {
		p.client.Process(ctx, cmd)
	}
	return p.queue, nil
}

// sendTimed returns what sends a command, at a time, to a server.
func sendTimed(server redis.UniversalClient) func(now int64, c redis.Cmder) error {
	return func(now int64, c redis.Cmder) error {
		script, ok := c.(*command)
		if !ok || script.script == reset {
			return server.Process(context.Background(), c)
		}
		told := redis.NewCmd(context.Background(), append(c.Args(), now)...)
		server.Process(context.Background(), told)
		script.SetVal(told.Val())
		script.SetErr(told.Err())
		return told.Err()
	}
}

// fromBubbles returns send, for callers in testing/synctest bubbles: what is
// sent is sent by goroutines outside, while the bubble's time stands still.
func fromBubbles(send func(now int64, c redis.Cmder) error) func(now int64, c redis.Cmder) error {
	type job struct {
		now int64
		cmd redis.Cmder
	}
	type worker struct {
		jobs chan job
		done chan error
	}
	idle := make(chan worker, 64)
	for range cap(idle) {
		w := worker{make(chan job), make(chan error)}
		go func() {
			for j := range w.jobs {
				w.done <- send(j.now, j.cmd)
			}
		}()
		idle <- w
	}
	return func(now int64, c redis.Cmder) error {
		w := <-idle
		defer func() { idle <- w }()
		w.jobs <- job{now, c}
		return <-w.done
	}
}
