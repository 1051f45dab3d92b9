package redislimit

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// onTestTime is a clock for the scripts that a test sets. A state in the future,
// however far, is left there: readings may come in any order.
const onTestTime = `
local now = tonumber(redis.call('GET', 'now'))
local patience = math.huge
`

// onSteppedTime is a clock that a test sets, and that lives with being set back.
const onSteppedTime = `
local now = tonumber(redis.call('GET', 'now'))
local patience = 1
`

// timed is a client of a server whose time is what a test says. The keys do not
// expire by it, but all are kept for some years of the server's own time.
type timed struct {
	*redis.Client
	server *redis.Client
	now    func() int64
}

// newTimed returns a client of a server with a test's time in microseconds.
func newTimed(t testing.TB, c *redis.Client, now func() int64) *timed {
	client := redis.NewClient(&redis.Options{
		Dialer: func(context.Context, string, string) (net.Conn, error) { panic("not connected") },
	})
	timed := &timed{client, c, now}
	client.AddHook(timed)
	return timed
}

func (c *timed) DialHook(next redis.DialHook) redis.DialHook { return next }

func (c *timed) ProcessHook(redis.ProcessHook) redis.ProcessHook {
	return func(_ context.Context, cmd redis.Cmder) error {
		ctx := context.Background()
		pipe := c.server.Pipeline()
		pipe.Set(ctx, "now", c.now(), 0)
		pipe.Process(ctx, cmd)
		_, err := pipe.Exec(ctx)
		return err
	}
}

func (c *timed) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// farFuture is a time that the server's own clock does not reach while a test
// runs, so that no key written after it expires.
var farFuture = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()
