package tokenbucket_test

import (
	"testing"
	"time"

	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/internal/algorithm"
	"github.com/ratekeep/ratelimit/internal/algorithm/algorithmtest"
	"github.com/ratekeep/ratelimit/internal/limitertest"
	"github.com/ratekeep/ratelimit/tokenbucket"
)

// The states that a table owns decide as the limiter's own does.
var ruleComparison = limitertest.Comparison{
	New: func(c clock.Clock, limit int, window time.Duration, extra int64) (limitertest.Refundable, limitertest.Model, error) {
		a, _, err := tokenbucket.Config{Limit: limit, Window: window, Burst: int(extra), Clock: c}.Algorithm(nil)
		if err != nil {
			return nil, nil, err
		}
		return algorithmtest.Limiter(a, c), limitertest.NewTokenBucket(limit, window, int(extra)), nil
	},
}

func TestRuleModel(t *testing.T) { ruleComparison.Run(t) }

func FuzzRuleModel(f *testing.F) { ruleComparison.Fuzz(f) }

func TestRule(t *testing.T) {
	algorithmtest.Run(t, func(limit int, window time.Duration, c clock.Clock) (algorithm.Algorithm, error) {
		a, _, err := tokenbucket.Config{Limit: limit, Window: window, Clock: c}.Algorithm(nil)
		return a, err
	})
}

// The clock is the config's own, or the one that is given.
func TestRuleClock(t *testing.T) {
	own, given := clock.NewFake(), clock.NewFake()
	if _, c, err := (tokenbucket.Config{Limit: 1, Window: 1, Clock: own}).Algorithm(given); c != own || err != nil {
		t.Errorf("with a clock of its own: %v, %v", c, err)
	}
	if _, c, err := (tokenbucket.Config{Limit: 1, Window: 1}).Algorithm(given); c != given || err != nil {
		t.Errorf("without: %v, %v", c, err)
	}
}
