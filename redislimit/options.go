package redislimit

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
)

// Options say how a limiter uses its server. The zero Options are good: they
// refuse while the server is away, remember refusals, and take no leases.
type Options struct {
	// Prefix begins every key on the server: {prefix:key}limit. "" means
	// "ratelimit". It must contain no braces and no colon. Limiters of one
	// Prefix and equal Configs count together; those that are not to, such as
	// one for logins and one for searches, need a Prefix each.
	Prefix string

	// Timeout bounds every call: 1 ms to a minute. 0 means 250 ms. It may come
	// up to an eighth early. A call that times out may have been decided by the
	// server or not; it is not sent again.
	Timeout time.Duration

	// WhenDown is what a decision is that the server does not make.
	WhenDown WhenDown

	// Share is how many processes share the limit, for [Fallback]: 1 to
	// 1,000,000.
	Share int

	// Logger is told, at most once in a Cooldown, when the server does not
	// decide (Error), and then when it does again (Info). nil means nobody is.
	Logger *slog.Logger

	// Cooldown is how long the server is left alone after three calls in a row
	// that it did not answer: 1 ms to an hour. 0 means 500 ms. Then one call
	// tries it again, and the next only after another Cooldown.
	Cooldown time.Duration

	// Refusals is how many refused keys are remembered, so that they are
	// refused again without a call: 0 to 16,777,216. 0 means 16384, and
	// [NoRefusals] none.
	Refusals int

	// Lease is how many events are taken at once for a key, to be handed out
	// in this process: 0 to the most that is ever admitted at once, which for
	// a bucket is its Burst or Capacity. 0 and 1 mean no leases.
	Lease int

	// LeaseFor is how long a lease is handed out: 1 ms to a day. 0 means a
	// second. What is left then counts as used.
	LeaseFor time.Duration
}

// NoRefusals has every refusal made by the server.
const NoRefusals = -1

// WhenDown is what a decision is that the server does not make, because it is
// away, slow, not ready or in error.
type WhenDown int

const (
	// Refuse refuses, with an error that wraps [ErrUnavailable].
	Refuse WhenDown = iota

	// Admit admits, without an error, whatever could be admitted at once.
	Admit

	// Fallback has a limiter inside this process decide, of the same
	// algorithm, with a part of the limit: see Options.Share.
	Fallback
)

func (w WhenDown) String() string {
	switch w {
	case Refuse:
		return "Refuse"
	case Admit:
		return "Admit"
	case Fallback:
		return "Fallback"
	}
	return fmt.Sprintf("WhenDown(%d)", int(w))
}

// ErrUnavailable is wrapped by the error of a call that the server did not
// decide. The error also wraps what it is that went wrong, unless that is a
// time-out.
var ErrUnavailable = errors.New("redislimit: the server did not decide")

const (
	defaultPrefix = "ratelimit"

	// maxKept is how long a key is at most that this process keeps for its
	// refusals or a lease: keys may be what a stranger sends.
	maxKept = 1 << 10

	maxShare    = 1_000_000
	maxRefusals = 1 << 24
)

// complete checks the options and puts in the defaults. Its error names the
// field, the value and the range.
func (o Options) complete(limit int) (Options, error) {
	if o.Prefix == "" {
		o.Prefix = defaultPrefix
	}
	if o.Refusals == 0 {
		o.Refusals = 16384
	}
	switch {
	case strings.ContainsAny(o.Prefix, "{}"):
		return o, fmt.Errorf("redislimit: Prefix %q contains a brace: braces mark what a Cluster places a key by", o.Prefix)
	case strings.Contains(o.Prefix, ":"):
		return o, fmt.Errorf("redislimit: Prefix %q contains a colon: a colon marks where the key begins", o.Prefix)
	case o.WhenDown < Refuse || o.WhenDown > Fallback:
		return o, fmt.Errorf("redislimit: WhenDown %d is not one of Refuse, Admit and Fallback", int(o.WhenDown))
	case o.WhenDown == Fallback && (o.Share < 1 || o.Share > maxShare):
		return o, fmt.Errorf("redislimit: Share %d is out of range [1, %d] for Fallback", o.Share, maxShare)
	case o.WhenDown != Fallback && o.Share != 0:
		return o, fmt.Errorf("redislimit: Share %d is for Fallback only, and WhenDown is %v", o.Share, o.WhenDown)
	case o.Refusals != NoRefusals && (o.Refusals < 0 || o.Refusals > maxRefusals):
		return o, fmt.Errorf("redislimit: Refusals %d is out of range [0, %d], and not NoRefusals", o.Refusals, maxRefusals)
	case o.Lease < 0 || o.Lease > limit:
		return o, fmt.Errorf("redislimit: Lease %d is out of range [0, %d]", o.Lease, limit)
	case o.Lease <= 1 && o.LeaseFor != 0:
		return o, fmt.Errorf("redislimit: LeaseFor %v is for leases only, and Lease is %d", o.LeaseFor, o.Lease)
	}
	for _, d := range []struct {
		field   string
		value   *time.Duration
		unset   time.Duration
		longest time.Duration
	}{
		{"Timeout", &o.Timeout, 250 * time.Millisecond, time.Minute},
		{"Cooldown", &o.Cooldown, 500 * time.Millisecond, time.Hour},
		{"LeaseFor", &o.LeaseFor, time.Second, 24 * time.Hour},
	} {
		if *d.value == 0 {
			*d.value = d.unset
		}
		if *d.value < time.Millisecond || *d.value > d.longest {
			return o, fmt.Errorf("redislimit: %s %v is out of range [1ms, %v]", d.field, *d.value, d.longest)
		}
	}
	return o, nil
}
