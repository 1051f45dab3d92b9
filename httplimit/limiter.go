package httplimit

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ratekeep/ratelimit/clock"
)

// Limiter applies the limits of a Config. Its middlewares can be put around any
// number of handlers, and inside one another: they count together, and each
// limit counts a request once. All methods are safe for concurrent use. It is
// made by New, and must not be copied.
type Limiter struct {
	config  Config // with nothing left to default
	clients *clients
	ban     *ban // nil for none

	routes   map[string]*route // by their keys in Config.Routes
	patterns *http.ServeMux    // of those routes that are patterns, to find them; nil for none
	other    *route            // what has the defaults and no name
	defaults []*limit          // Config.Defaults and Config.Application
	learned  learned

	lines lines
}

// route is a Route as requests meet it.
type route struct {
	name   string
	exempt bool
	limits []*limit

	counts bool   // some limit has a CountWhen
	policy string // RateLimit-Policy, if that is the same for all requests

	scope   *scope
	methods methodScopes
}

// New returns a Limiter. Its error names the field, the value and what it may
// be.
func New(c Config) (*Limiter, error) {
	l, err := newLimiter(c)
	if err != nil {
		return nil, fmt.Errorf("httplimit: %w", err)
	}
	return l, nil
}

// MustNew is New for a Config that is known to be good. It panics with New's
// error.
func MustNew(c Config) *Limiter {
	l, err := New(c)
	if err != nil {
		panic(err)
	}
	return l
}

// Middleware limits the requests to next. It can stand anywhere: around the
// whole server, around a part of it, or around one handler.
//
// The request's route is the pattern in Config.Routes that its path matches. A
// request that matches none has the Defaults, and counts them by its pattern:
// that is what next answers, if it is an [http.ServeMux], or else
// [http.Request.Pattern], which a router sets for what is inside it. Requests
// whose pattern nobody knows count together.
//
// Paths are read as [http.ServeMux] does, and as they are at the middleware.
// Behind [http.StripPrefix], or a router that ignores case or a slash at the
// end, the path of a request may not be the one that its route has in the
// Config. Put [Limiter.Route] around that route's handler instead.
//
// A path with "//", "/./" or "/../" in it may be read in two ways: cleaned, as
// [http.ServeMux] does before it redirects, or as it stands. Unless next is an
// [http.ServeMux], such a request has the limits of both routes, and is exempt if
// both are.
func (l *Limiter) Middleware(next http.Handler) http.Handler {
	mux, _ := next.(muxer)
	_, redirects := next.(*http.ServeMux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rt, also := l.routesOf(r, mux, redirects)
		if also == nil {
			l.serve(w, r, next, rt)
			return
		}
		l.serve(w, r, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			l.serve(w, r, next, also)
		}), rt)
	})
}

// Route returns the middleware of one of Config.Routes, for handlers inside a
// router: it applies that route's limits whatever the request's path. It panics
// if there is no route of that name.
func (l *Limiter) Route(name string) func(http.Handler) http.Handler {
	rt, ok := l.routes[name]
	if !ok {
		panic(fmt.Sprintf("httplimit: Route %q is not in Config.Routes", name))
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			l.serve(w, r, next, rt)
		})
	}
}

// Reset makes one key as good as new, in all limits of all routes, and lifts its
// ban. It is an address, which stands for all that are grouped with it, or what
// a Key function returned, or what [Result.Key] says. Of routes that are not in
// the Config it knows those that this process has had requests for.
func (l *Limiter) Reset(ctx context.Context, name string) error {
	var errs []error
	for _, k := range l.keysNamed(name) {
		if l.ban != nil {
			errs = append(errs, l.ban.reset(ctx, k))
		}
		for _, rt := range l.allRoutes() {
			for _, m := range rt.limits {
				for _, s := range m.scopes(rt) {
					errs = append(errs, m.reset(ctx, k.in(s)))
					l.lines.wake(lineKey{m.usual, k.in(s)})
				}
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("httplimit: Reset of %q: %w", name, err)
	}
	return nil
}

// keysNamed are the keys of which Result.Key says name, or would if they were
// not grouped or hashed.
func (l *Limiter) keysNamed(name string) (keys []key) {
	if a, err := netip.ParseAddr(name); err == nil {
		keys = append(keys, addrKey(l.clients.group(a.WithZone("").Unmap())))
	}
	if name == addrKey(netip.Addr{}).text {
		keys = append(keys, addrKey(netip.Addr{}))
	}
	if sum, err := hex.DecodeString(strings.TrimPrefix(name, hashPrefix)); err == nil && strings.HasPrefix(name, hashPrefix) {
		keys = append(keys, key{hi: textHashed, text: string(sum)})
	}
	return append(keys, textKey(name))
}

func newLimiter(c Config) (*Limiter, error) {
	if err := c.complete(); err != nil {
		return nil, err
	}
	l := &Limiter{config: c, routes: make(map[string]*route)}
	l.lines.room = c.MaxWaiting
	var err error
	if l.clients, err = newClients(c.Client); err != nil {
		return nil, err
	}
	b := builder{config: &l.config, scopes: make(map[string]*sharedLimit)}
	application, err := b.limits("Application", c.Application)
	if err != nil {
		return nil, err
	}
	for _, m := range application {
		if !m.shared {
			m.share("")
		}
	}
	defaults, err := b.limits("Defaults", c.Defaults)
	if err != nil {
		return nil, err
	}
	l.defaults = slices.Concat(defaults, application)
	l.other = l.newRoute("", l.defaults)
	if l.ban, err = b.ban(c.Ban); err != nil {
		return nil, err
	}

	names := make([]string, 0, len(c.Routes))
	for name := range c.Routes {
		names = append(names, name)
	}
	slices.Sort(names) // so that of several errors it is always the same one
	limited := len(l.defaults) > 0
	for _, name := range names {
		given, where := c.Routes[name], fmt.Sprintf("Routes[%q]", name)
		switch {
		case name == "":
			return nil, errors.New(`a key of Routes is empty, want a pattern such as "POST /login", or a name`)
		case !strings.Contains(name, "/") && strings.ContainsAny(name, " \t"):
			return nil, fmt.Errorf(`%s has a blank and no slash: want a pattern such as "POST /login", or a name without blanks`, where)
		case strings.Contains(name, "/") && methodOf(name) != strings.ToUpper(methodOf(name)):
			return nil, fmt.Errorf("%s: the method %s is not in upper case, so no request has it", where, methodOf(name))
		case given.Exempt && (len(given.Limits) > 0 || given.AddDefaults):
			return nil, fmt.Errorf("%s is Exempt, and has limits", where)
		case !given.Exempt && len(given.Limits) == 0 && len(l.defaults) == 0:
			return nil, fmt.Errorf("%s has no limits, and there are no Defaults; want Limits, or Exempt", where)
		}
		own, err := b.limits(where+".Limits", given.Limits)
		if err != nil {
			return nil, err
		}
		all := slices.Concat(own, application)
		if given.AddDefaults || len(own) == 0 {
			all = slices.Concat(own, l.defaults)
		}
		if given.Exempt {
			all = nil
		}
		rt := l.newRoute(name, all)
		rt.exempt = given.Exempt
		l.routes[name] = rt
		limited = limited || len(all) > 0
		if strings.Contains(name, "/") {
			if l.patterns == nil {
				l.patterns = http.NewServeMux()
			}
			if err := register(l.patterns, name, rt); err != nil {
				return nil, fmt.Errorf("%s: %w", where, err)
			}
		}
	}
	if !limited {
		return nil, errors.New("nothing is limited: Defaults, Application and Routes have no limits")
	}
	return l, nil
}

// complete checks what can be checked at once, and fills in the defaults.
func (c *Config) complete() error {
	const mostWaiting = 1_000_000
	switch {
	case c.Headers == 0:
		c.Headers = XRateLimitDelta
	case c.Headers >= NoHeaders<<1:
		return fmt.Errorf("Headers is %#x, want some of XRateLimitDelta, XRateLimitEpoch, IETFDraft11 and NoHeaders", uint(c.Headers))
	case c.Headers&NoHeaders != 0 && c.Headers != NoHeaders:
		return errors.New("Headers has NoHeaders and others, want it alone")
	case c.Headers&XRateLimitDelta != 0 && c.Headers&XRateLimitEpoch != 0:
		return errors.New("Headers has both XRateLimitDelta and XRateLimitEpoch, want one of them")
	}
	if c.MaxWaiting < 0 || c.MaxWaiting > mostWaiting {
		return fmt.Errorf("MaxWaiting is %d, want 1 to %d, or 0 for 1000", c.MaxWaiting, mostWaiting)
	}
	c.MaxWaiting = cmp.Or(c.MaxWaiting, 1000)
	if c.Refuse == nil {
		c.Refuse = Answer
	}
	if c.Clock == nil {
		c.Clock = clock.System()
	}
	c.AdmitOnError = c.AdmitOnError || c.DryRun // which lets everything through
	return nil
}

func (l *Limiter) newRoute(name string, limits []*limit) *route {
	rt := &route{name: name, limits: limits, scope: &scope{route: name}, methods: newMethodScopes(scope{route: name})}
	fixed := true
	for _, m := range limits {
		rt.counts = rt.counts || m.given.CountWhen != nil
		fixed = fixed && m.given.Plan == nil && m.given.ExemptWhen == nil
	}
	if fixed && l.config.Headers&IETFDraft11 != 0 {
		var items []string
		for _, m := range limits {
			items = append(items, m.usual.policy)
		}
		rt.policy = strings.Join(items, ", ")
	}
	return rt
}

// muxer is what http.ServeMux tells of a request.
type muxer interface {
	Handler(*http.Request) (h http.Handler, pattern string)
}

// ServeHTTP is never called: a route is a handler to be found in a mux.
func (*route) ServeHTTP(http.ResponseWriter, *http.Request) {}

// routesOf is the route of a request, and the one that it has also if its path
// can be read as another.
func (l *Limiter) routesOf(r *http.Request, mux muxer, redirects bool) (rt, also *route) {
	if l.patterns == nil {
		return l.unconfigured(r, mux), nil
	}
	rt, exact := l.configured(r)
	if rt == nil {
		rt = l.unconfigured(r, mux)
	}
	if exact || redirects || r.Method == http.MethodConnect {
		return rt, nil
	}
	standing := asItStands(r)
	if standing == nil {
		return rt, nil
	}
	if also, _ = l.configured(standing); also == nil {
		also = l.unconfigured(r, mux)
	}
	if also == rt {
		return rt, nil
	}
	return rt, also
}

// configured is the route in Config.Routes whose pattern matches, or nil. It is
// exact if the path did not have to be cleaned, or given a slash at the end.
func (l *Limiter) configured(r *http.Request) (rt *route, exact bool) {
	h, pattern := l.patterns.Handler(r)
	if rt, ok := h.(*route); ok {
		return rt, true
	}
	if r.Method == http.MethodConnect {
		return nil, false // that may be a path of the client's
	}
	return l.routes[pattern], false
}

// unconfigured is the route of a request that none in Config.Routes matches.
func (l *Limiter) unconfigured(r *http.Request, mux muxer) *route {
	pattern := r.Pattern
	// To CONNECT, http.ServeMux may answer a path of the client's as a pattern.
	if mux != nil && r.Method != http.MethodConnect {
		_, pattern = mux.Handler(r)
	}
	if pattern == "" {
		return l.other
	}
	return l.learned.route(pattern, l)
}

// asItStands is a request that http.ServeMux finds the route of without cleaning
// its path, or nil if there is nothing to clean.
func asItStands(r *http.Request) *http.Request {
	if p := r.URL.Path; strings.HasPrefix(p, "/") && !strings.Contains(p, "//") && !strings.Contains(p, "/.") {
		return nil
	}
	segments := strings.Split(strings.TrimPrefix(r.URL.EscapedPath(), "/"), "/")
	unclean := false
	for i, s := range segments {
		if s == "." || s == ".." || s == "" && i < len(segments)-1 {
			segments[i], unclean = "%2E", true // which is a segment as any other
		}
	}
	if !unclean {
		return nil
	}
	escaped := "/" + strings.Join(segments, "/")
	path, err := url.PathUnescape(escaped)
	if err != nil {
		return nil
	}
	u := *r.URL
	u.Path, u.RawPath = path, escaped
	return &http.Request{Method: r.Method, Host: r.Host, URL: &u}
}

// learned are routes that are not in the Config, by the patterns that requests
// came with.
type learned struct {
	mu     sync.RWMutex
	routes map[string]*route
}

func (ln *learned) route(pattern string, l *Limiter) *route {
	ln.mu.RLock()
	rt := ln.routes[pattern]
	ln.mu.RUnlock()
	if rt != nil {
		return rt
	}
	ln.mu.Lock()
	defer ln.mu.Unlock()
	if rt = ln.routes[pattern]; rt == nil {
		if ln.routes == nil {
			ln.routes = make(map[string]*route)
		}
		rt = l.newRoute(strings.Clone(pattern), l.defaults)
		ln.routes[rt.name] = rt
	}
	return rt
}

// allRoutes are those of the Config, in order, then those learned, then the one
// for the rest.
func (l *Limiter) allRoutes() []*route {
	byName := func(a, b *route) int { return strings.Compare(a.name, b.name) }
	var rts, more []*route
	for _, rt := range l.routes {
		rts = append(rts, rt)
	}
	l.learned.mu.RLock()
	for _, rt := range l.learned.routes {
		more = append(more, rt)
	}
	l.learned.mu.RUnlock()
	slices.SortFunc(rts, byName)
	slices.SortFunc(more, byName)
	return append(append(rts, more...), l.other)
}

// register adds a pattern to a mux, which has no other way than a panic to say
// that it is wrong.
func register(mux *http.ServeMux, pattern string, rt *route) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errors.New(registered.ReplaceAllString(fmt.Sprint(p), ""))
		}
	}()
	mux.Handle(pattern, rt)
	return nil
}

// registered is what such a panic says of where a pattern comes from, which here
// is always the line above.
var registered = regexp.MustCompile(` \(registered at [^)]*\)`)

// methodScopes are a scope for each method that there is by RFC 9110 and 5789,
// and one for what else clients think of.
type methodScopes [len(methods) + 1]*scope

var methods = [...]string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE"}

func newMethodScopes(s scope) (ms methodScopes) {
	for i := range ms {
		of := s
		of.method = "other"
		if i < len(methods) {
			of.method = methods[i]
		}
		ms[i] = &of
	}
	return ms
}

func (ms *methodScopes) of(method string) *scope {
	for i, m := range methods {
		if m == method {
			return ms[i]
		}
	}
	return ms[len(methods)]
}

// ceilSeconds is d in whole seconds, rounded up.
func ceilSeconds(d time.Duration) int64 {
	s := int64(d / time.Second)
	if d%time.Second > 0 {
		s++
	}
	return s
}

// methodOf is the method of a pattern, or "".
func methodOf(pattern string) string {
	if i := strings.IndexAny(pattern, " \t"); i > 0 {
		return pattern[:i]
	}
	return ""
}
