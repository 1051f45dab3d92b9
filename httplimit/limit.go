package httplimit

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/ratekeep/ratelimit/notation"
)

// limit is one rate of a Limit.
type limit struct {
	given Limit
	usual *rate            // of Limit.Rate
	plans map[string]*rate // of Limit.Plans

	// A limit that several routes share has a scope of its own, and others
	// that of each route.
	shared  bool
	scope   *scope
	methods methodScopes
}

// rate is what a limit is under one plan, and the header fields that can be
// known in advance.
type rate struct {
	backend
	notation.Limit
	name    string
	ceiling string // X-RateLimit-Limit
	quoted  string // name, as structured fields have it
	policy  string // the item in RateLimit-Policy
	bodies  bodies // of a refusal
}

// share makes the limit count all its routes together, under a name if it has
// one.
func (m *limit) share(name string) {
	m.shared = true
	m.methods = newMethodScopes(scope{shared: name})
	if name != "" {
		m.scope = &scope{shared: name}
	}
}

// scopeOf is what a request to the route is counted in.
func (m *limit) scopeOf(rt *route, r *http.Request) *scope {
	switch {
	case m.shared && m.given.PerMethod:
		return m.methods.of(r.Method)
	case m.shared:
		return m.scope
	case m.given.PerMethod:
		return rt.methods.of(r.Method)
	}
	return rt.scope
}

// scopes are all that scopeOf can return for the route.
func (m *limit) scopes(rt *route) []*scope {
	switch {
	case m.shared && m.given.PerMethod:
		return m.methods[:]
	case m.shared:
		return []*scope{m.scope}
	case m.given.PerMethod:
		return rt.methods[:]
	}
	return []*scope{rt.scope}
}

// rateOf is the rate that a request is under.
func (m *limit) rateOf(r *http.Request) *rate {
	if m.given.Plan != nil {
		if rt, ok := m.plans[m.given.Plan(r)]; ok {
			return rt
		}
	}
	return m.usual
}

// reset makes a key as good as new under every plan.
func (m *limit) reset(ctx context.Context, k key) error {
	errs := []error{m.usual.reset(ctx, &k)}
	for _, rt := range m.plans {
		errs = append(errs, rt.reset(ctx, &k))
	}
	return errors.Join(errs...)
}

// builder makes limits of Limits.
type builder struct {
	config *Config
	scopes map[string]*sharedLimit
}

// sharedLimit is what the Limits of one Scope have in common.
type sharedLimit struct {
	where  string
	given  Limit
	limits []*limit
}

func (b *builder) limits(where string, given []Limit) (all []*limit, err error) {
	for i, g := range given {
		ms, err := b.limit(fmt.Sprintf("%s[%d]", where, i), g)
		if err != nil {
			return nil, err
		}
		all = append(all, ms...)
	}
	return all, nil
}

func (b *builder) limit(where string, given Limit) ([]*limit, error) {
	if err := given.check(where); err != nil {
		return nil, err
	}
	id := where
	if given.Scope != "" {
		id = "Scope " + strconv.Quote(given.Scope)
		if s, ok := b.scopes[given.Scope]; ok {
			return s.with(where, given)
		}
	}
	rates, err := b.rates(id, "", given.Rate, given, nil)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", where, err)
	}
	ms := make([]*limit, len(rates))
	for i, rt := range rates {
		ms[i] = &limit{given: given, usual: rt, plans: make(map[string]*rate)}
		if given.Scope != "" {
			ms[i].share(given.Scope)
		}
	}
	for _, plan := range slices.Sorted(maps.Keys(given.Plans)) {
		under, err := b.rates(id, plan, given.Plans[plan], given, rates)
		if err != nil {
			return nil, fmt.Errorf("%s: Plans[%q]: %w", where, plan, err)
		}
		for i, rt := range under {
			ms[i].plans[plan] = rt
		}
	}
	if given.Scope != "" {
		b.scopes[given.Scope] = &sharedLimit{where, given, ms}
	}
	return ms, nil
}

// with is the limits of the Scope for one more Limit in it, which may differ in
// what belongs to its routes.
func (s *sharedLimit) with(where string, given Limit) ([]*limit, error) {
	a, g := s.given, given
	same := a.Rate == g.Rate && a.Name == g.Name && a.Strategy == g.Strategy && a.Burst == g.Burst &&
		a.PerMethod == g.PerMethod && len(a.Plans) == len(g.Plans)
	for plan, text := range a.Plans {
		same = same && g.Plans[plan] == text
	}
	if !same {
		return nil, fmt.Errorf("%s.Scope is %q, which in %s is of another Rate, Name, Strategy, Burst, Plans or PerMethod", where, given.Scope, s.where)
	}
	ms := make([]*limit, len(s.limits))
	for i, m := range s.limits {
		of := *m
		of.given = given
		ms[i] = &of
	}
	return ms, nil
}

// rates makes a rate of each that text has; under another plan than the usual,
// those are the ones of the usual plan.
func (b *builder) rates(id, plan, text string, given Limit, usual []*rate) ([]*rate, error) {
	parsed, err := notation.Parse(text)
	if err != nil {
		return nil, err
	}
	if usual != nil && len(parsed) != len(usual) {
		return nil, fmt.Errorf("%q has %d rates, want %d, as Rate has", text, len(parsed), len(usual))
	}
	var rates []*rate
	for i, p := range parsed {
		spec := Spec{ID: id, Plan: plan, Strategy: given.Strategy, Count: p.Count, Window: p.Window, Burst: given.Burst}
		if len(parsed) > 1 {
			spec.ID = fmt.Sprintf("%s rate %d", id, i)
		}
		name := given.Name
		if name == "" {
			name = p.String()
		} else if len(parsed) > 1 {
			name += " " + p.String()
		}
		var under *rate
		if usual != nil {
			under = usual[i]
		}
		rt, err := b.rate(spec, name, under)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", p, err)
		}
		rates = append(rates, rt)
	}
	return rates, nil
}

func (b *builder) rate(s Spec, name string, usual *rate) (*rate, error) {
	// The config also checks what a Store is not asked to.
	if _, err := s.config(b.config.Clock); err != nil {
		return nil, err
	}
	most := s.Count
	if s.Burst != 0 {
		most = s.Burst
	}
	rt := &rate{Limit: notation.Limit{Count: s.Count, Window: s.Window}, name: name, ceiling: strconv.Itoa(most)}
	rt.quoted = strconv.Quote(name) // of printable ASCII, it escapes quotes and backslashes
	rt.bodies = newBodies(quotaExceeded, name, name)
	rt.policy = fmt.Sprintf("%s;q=%d", rt.quoted, min(int64(s.Count), maxSFInteger))
	if s.Window%time.Second == 0 {
		rt.policy += ";w=" + strconv.FormatInt(int64(s.Window/time.Second), 10)
	}
	var err error
	rt.backend, err = b.backend(s, usual)
	return rt, err
}

func (b *builder) backend(s Spec, usual *rate) (backend, error) {
	if b.config.Store == nil {
		if usual != nil {
			return usual.backend.(memory).with(s, b.config.Clock)
		}
		return newMemory(s, b.config.Memory, b.config.Clock)
	}
	store, err := b.config.Store(s)
	if err != nil {
		return nil, fmt.Errorf("Store: %w", err)
	}
	if store == nil {
		return nil, errors.New("Store returned nil")
	}
	return shared{store}, nil
}

// check reports what is wrong with the limit that stands at where in the
// Config, but for its rates.
func (g *Limit) check(where string) error {
	const longestName, longestWait = 64, time.Hour
	switch {
	case len(g.Name) > longestName || !isPrintable(g.Name):
		return fmt.Errorf("%s.Name is %q, want up to %d printable ASCII characters", where, g.Name, longestName)
	case !isPrintable(g.Scope):
		return fmt.Errorf("%s.Scope is %q, want printable ASCII characters", where, g.Scope)
	case g.Strategy < TokenBucket || g.Strategy > SlidingLog:
		return fmt.Errorf("%s.Strategy is %d, want %d to %d", where, g.Strategy, TokenBucket, SlidingLog)
	case g.Burst < 0:
		return fmt.Errorf("%s.Burst is %d, want at least 1, or 0 for the count", where, g.Burst)
	case (g.Plan == nil) != (len(g.Plans) == 0):
		return fmt.Errorf("%s.Plan and Plans go together, and one of them is missing", where)
	case g.MaxWait < 0 || g.MaxWait > longestWait:
		return fmt.Errorf("%s.MaxWait is %v, want up to %v, or 0 to refuse at once", where, g.MaxWait, longestWait)
	}
	return nil
}

func isPrintable(s string) bool {
	for _, c := range []byte(s) {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return true
}
