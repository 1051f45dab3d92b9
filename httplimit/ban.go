package httplimit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/notation"
)

// ban is a limit on refusals, and a limit of one in the time of a ban that says
// who is banned: whoever has used that up.
type ban struct {
	refusals *rate
	bans     *rate
}

func (b *builder) ban(given Ban) (*ban, error) {
	const longest = 366 * 24 * time.Hour
	if given == (Ban{}) {
		return nil, nil
	}
	if given.For <= 0 || given.For > longest {
		return nil, fmt.Errorf("Ban.For is %v, want more than 0 and up to %v", given.For, longest)
	}
	parsed, err := notation.Parse(given.Refusals)
	if err != nil {
		return nil, fmt.Errorf("Ban.Refusals: %w", err)
	}
	if len(parsed) != 1 {
		return nil, fmt.Errorf("Ban.Refusals is %q, want a single rate", given.Refusals)
	}
	refusals, err := b.rate(Spec{ID: "Ban.Refusals", Count: parsed[0].Count, Window: parsed[0].Window}, parsed[0].String(), nil)
	if err != nil {
		return nil, fmt.Errorf("Ban.Refusals is %q: %w", given.Refusals, err)
	}
	bans, err := b.rate(Spec{ID: "Ban.For", Count: 1, Window: given.For}, "ban", nil)
	if err != nil {
		return nil, fmt.Errorf("Ban.For is %v: %w", given.For, err)
	}
	return &ban{refusals, bans}, nil
}

func (b *ban) reset(ctx context.Context, k key) error {
	return errors.Join(b.refusals.reset(ctx, k), b.bans.reset(ctx, k))
}

// banned is the decision whether somebody is banned. It is allowed if not.
func (v *visit) banned(k key) (ratelimit.Decision, error) {
	d, err := v.ban.bans.peek(v.Context, k, 1)
	if err == nil || v.Context.Err() != nil {
		return d, err
	}
	v.logFailure(v.Context, err)
	if v.config.AdmitOnError {
		return ratelimit.Decision{Allowed: true}, nil
	}
	return d, err
}

// countRefusal bans somebody if this refusal is one too many.
func (v *visit) countRefusal(k key) {
	ctx := context.WithoutCancel(v.Context)
	d, err := v.ban.refusals.take(ctx, k, 1)
	if err == nil && !d.Allowed {
		if d, err = v.ban.bans.take(ctx, k, 1); err == nil && d.Allowed {
			v.logBan(k)
		}
	}
	if err != nil {
		v.logFailure(ctx, err)
	}
}
