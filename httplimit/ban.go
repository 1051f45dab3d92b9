package httplimit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/keyed"
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
	// Those who share a count would be banned for one another.
	config := *b.config
	config.Memory.WhenFull = keyed.Refuse
	b = &builder{config: &config}
	refusals, err := b.rate(Spec{ID: "Ban.Refusals", Count: parsed[0].Count, Window: parsed[0].Window}, parsed[0].String(), nil)
	if err != nil {
		return nil, fmt.Errorf("Ban.Refusals is %q: %w", given.Refusals, err)
	}
	bans, err := b.rate(Spec{ID: "Ban.For", Count: 1, Window: given.For}, "ban", nil)
	if err != nil {
		return nil, fmt.Errorf("Ban.For is %v: %w", given.For, err)
	}
	bans.bodies = newBodies(abnormalUsage, "refused too often", bans.name)
	return &ban{refusals, bans}, nil
}

func (b *ban) reset(ctx context.Context, k key) error {
	return errors.Join(b.refusals.reset(ctx, &k), b.bans.reset(ctx, &k))
}

// banned reports whether the sender is banned, which whoever has no place in a
// full memory is not. The key and the decision are in v.one, where the charges
// have not come yet.
func (v *visit) banned(from *sender) (bool, error) {
	c := &v.one[0]
	from.key(&c.key, nil)
	ok, err := v.ban.bans.lookup(v.Context, &c.key, &c.decision)
	switch {
	case err == nil:
		return ok && !c.decision.Allowed, nil
	case v.Context.Err() != nil:
		return false, v.Context.Err()
	}
	v.logFailure(v.Context, err)
	if v.config.AdmitOnError {
		return false, nil
	}
	return false, err
}

// countRefusal bans the sender if this refusal is one too many.
func (v *visit) countRefusal(from *sender) {
	ctx := context.WithoutCancel(v.Context)
	var k key
	var d ratelimit.Decision
	from.key(&k, nil)
	err := v.ban.refusals.take(ctx, &k, 1, &d)
	if err == nil && !d.Allowed {
		err = v.banFor(ctx, &k, &d)
	}
	if err != nil {
		v.logFailure(ctx, err)
	}
}

// banFor bans a key whose last refusal could not be counted.
func (v *visit) banFor(ctx context.Context, k *key, d *ratelimit.Decision) error {
	// A key may have no place to be counted in, and is not banned for that.
	ok, err := v.ban.refusals.lookup(ctx, k, d)
	if err != nil || !ok || d.Allowed {
		return err
	}
	if err = v.ban.bans.take(ctx, k, 1, d); err == nil && d.Allowed {
		v.logBan(*k)
	}
	return err
}
