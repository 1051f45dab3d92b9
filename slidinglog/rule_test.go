package slidinglog_test

import (
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/internal/algorithm"
	"github.com/ratekeep/ratelimit/internal/algorithm/algorithmtest"
	"github.com/ratekeep/ratelimit/internal/limitertest"
	"github.com/ratekeep/ratelimit/slidinglog"
)

// The states that a table owns decide as the limiter's own does.
var ruleComparison = limitertest.Comparison{
	New: func(c clock.Clock, limit int, window time.Duration, extra int64) (limitertest.Refundable, limitertest.Model, error) {
		a, _, err := slidinglog.Config{Limit: limit, Window: window, Clock: c}.Algorithm(nil)
		if err != nil {
			return nil, nil, err
		}
		return algorithmtest.Limiter(a, c), limitertest.NewSlidingLog(limit, window), nil
	},
}

func TestRuleModel(t *testing.T) { ruleComparison.Run(t) }

func FuzzRuleModel(f *testing.F) { ruleComparison.Fuzz(f) }

func TestRule(t *testing.T) {
	algorithmtest.Run(t, func(limit int, window time.Duration, c clock.Clock) (algorithm.Algorithm, error) {
		a, _, err := slidinglog.Config{Limit: limit, Window: window, Clock: c}.Algorithm(nil)
		return a, err
	})
}

// The clock is the config's own, or the one that is given.
func TestRuleClock(t *testing.T) {
	own, given := clock.NewFake(), clock.NewFake()
	if _, c, err := (slidinglog.Config{Limit: 1, Window: 1, Clock: own}).Algorithm(given); c != own || err != nil {
		t.Errorf("with a clock of its own: %v, %v", c, err)
	}
	if _, c, err := (slidinglog.Config{Limit: 1, Window: 1}).Algorithm(given); c != given || err != nil {
		t.Errorf("without: %v, %v", c, err)
	}
}

// A log per key has no room for more events than a word of 32 bits counts.
func TestRuleLimit(t *testing.T) {
	if strconv.IntSize == 32 {
		t.Skip("no Limit is that large")
	}
	most := int64(math.MaxUint32)
	if _, _, err := (slidinglog.Config{Limit: int(most), Window: time.Hour}).Algorithm(clock.NewFake()); err != nil {
		t.Errorf("Limit %d: %v", most, err)
	}
	_, _, err := slidinglog.Config{Limit: int(most + 1), Window: time.Hour}.Algorithm(clock.NewFake())
	if err == nil || !strings.Contains(err.Error(), "slidinglog: Limit 4294967296 is out of range [1, 4294967295]") {
		t.Errorf("Limit %d: %v", most+1, err)
	}
}
