package httplimit_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ratekeep/ratelimit/httplimit"
	"github.com/ratekeep/ratelimit/keyed"
)

// What is wrong with a Config is said when it is used, with the field, the value
// and what it may be.
func TestNewRefuses(t *testing.T) {
	limit := func(l httplimit.Limit) httplimit.Config { return httplimit.Config{Defaults: []httplimit.Limit{l}} }
	with := func(change func(*httplimit.Config)) httplimit.Config {
		c := httplimit.Config{Defaults: rate("1/s")}
		change(&c)
		return c
	}
	client := func(cl httplimit.Client) httplimit.Config {
		return with(func(c *httplimit.Config) { c.Client = cl })
	}
	routes := func(name string, r httplimit.Route) httplimit.Config {
		return httplimit.Config{Routes: map[string]httplimit.Route{name: r}}
	}
	plan := func(*http.Request) string { return "" }
	a := httplimit.Limit{Rate: "1/s", Scope: "s"}
	b := httplimit.Limit{Rate: "2/s", Scope: "s"}

	for want, c := range map[string]httplimit.Config{
		// Nothing that limits nothing is accepted.
		"nothing is limited":                        {},
		"nothing is limited: Defaults, Application": {Routes: map[string]httplimit.Route{"/x": {Exempt: true}}},
		`Routes["/x"] has no limits, and there are no Defaults; want Limits, or Exempt`: routes("/x", httplimit.Route{}),
		`Defaults[0]: notation: "", byte 0`:                                             limit(httplimit.Limit{}),
		`Application[1]: notation: "often", byte 0`:                                     {Application: []httplimit.Limit{{Rate: "1/s"}, {Rate: "often"}}},
		`Routes["/x"].Limits[0]: notation: "0/s", byte 0`:                               routes("/x", httplimit.Route{Limits: rate("0/s")}),

		`Routes["/x"] is Exempt, and has limits`:                                              routes("/x", httplimit.Route{Exempt: true, Limits: rate("1/s")}),
		`Routes["/y"] is Exempt, and has limits`:                                              routes("/y", httplimit.Route{Exempt: true, AddDefaults: true}),
		`Routes["GET x/{"]: parsing "GET x/{": at offset`:                                     routes("GET x/{", httplimit.Route{Limits: rate("1/s")}),
		`Routes["POST login"] has a blank and no slash: want a pattern such as "POST /login"`: routes("POST login", httplimit.Route{Limits: rate("1/s")}),
		`Routes["post /login"]: the method post is not in upper case`:                         routes("post /login", httplimit.Route{Limits: rate("1/s")}),
		`a key of Routes is empty, want a pattern such as "POST`:                              routes("", httplimit.Route{Limits: rate("1/s")}),

		`Defaults[0].Name is "a\r\nb", want up to 64 printable ASCII characters`: limit(httplimit.Limit{Rate: "1/s", Name: "a\r\nb"}),
		`Defaults[0].Name is "ä"`:                                           limit(httplimit.Limit{Rate: "1/s", Name: "ä"}),
		`Defaults[0].Name is "nnnn`:                                         limit(httplimit.Limit{Rate: "1/s", Name: strings.Repeat("n", 65)}),
		`Defaults[0].Scope is "a\nb", want printable ASCII`:                 limit(httplimit.Limit{Rate: "1/s", Scope: "a\nb"}),
		`Defaults[0].Strategy is 5, want 0 to 4`:                            limit(httplimit.Limit{Rate: "1/s", Strategy: 5}),
		`Defaults[0].Strategy is -1`:                                        limit(httplimit.Limit{Rate: "1/s", Strategy: -1}),
		`Defaults[0].Burst is -1, want at least 1`:                          limit(httplimit.Limit{Rate: "1/s", Burst: -1}),
		`a slidinglog has no Burst, which is 2`:                             limit(httplimit.Limit{Rate: "1/s", Burst: 2, Strategy: httplimit.SlidingLog}),
		`Defaults[0].MaxWait is -1ns, want up to 1h0m0s`:                    limit(httplimit.Limit{Rate: "1/s", MaxWait: -1}),
		`Defaults[0].MaxWait is 2h0m0s`:                                     limit(httplimit.Limit{Rate: "1/s", MaxWait: 2 * time.Hour}),
		`Defaults[0].Plan and Plans go together`:                            limit(httplimit.Limit{Rate: "1/s", Plan: plan}),
		`Plan and Plans go together, and one`:                               limit(httplimit.Limit{Rate: "1/s", Plans: map[string]string{"x": "1/s"}}),
		`Defaults[0]: Plans["x"]: "1/s; 2/m" has 2 rates, want 1, as`:       limit(httplimit.Limit{Rate: "1/s", Plan: plan, Plans: map[string]string{"x": "1/s; 2/m"}}),
		`Defaults[0]: Plans["x"]: notation: "bad"`:                          limit(httplimit.Limit{Rate: "1/s", Plan: plan, Plans: map[string]string{"x": "bad"}}),
		`Defaults[0]: "2000000000 per second": `:                            limit(httplimit.Limit{Rate: "2000000000/s"}),
		`Defaults[1].Scope is "s", which in Defaults[0] is of another Rate`: {Defaults: []httplimit.Limit{a, b}},

		`Client.IPv6Prefix is 129, want 1 to 128, or 0 for 64`: client(httplimit.Client{IPv6Prefix: 129}),
		`Client.IPv6Prefix is -1`:                              client(httplimit.Client{IPv6Prefix: -1}),
		`Client.IPv4Prefix is 33, want 1 to 32, or 0 for 32`:   client(httplimit.Client{IPv4Prefix: 33}),
		`Client.TrustedHops is 33, want 1 to 32`:               client(httplimit.Client{Header: "X-Forwarded-For", TrustedHops: 33}),
		`Client.TrustedHops is -1`:                             client(httplimit.Client{Header: "X-Forwarded-For", TrustedHops: -1}),
		`Client.TrustedProxies and TrustedHops are both set`:   client(httplimit.Client{Header: "X-Forwarded-For", TrustedHops: 1, TrustedProxies: []string{"::1"}}),
		`Client.Header is empty, want the field that the`:      client(httplimit.Client{TrustedHops: 1}),
		`Client.Header is "X-Real-IP", but neither`:            client(httplimit.Client{Header: "X-Real-IP"}),
		`Client.Header is "X Real", want the name of a header`: client(httplimit.Client{Header: "X Real", TrustedHops: 1}),
		`Client.TrustedHops is 2, want 1: X-Real-Ip holds a`:   client(httplimit.Client{Header: "X-Real-IP", TrustedHops: 2}),
		`Client.TrustedProxies[1] is "10.0.0.0/33", want an`:   client(httplimit.Client{Header: "Forwarded", TrustedProxies: []string{"10.0.0.1", "10.0.0.0/33"}}),
		`Client.TrustedProxies[0] is "proxy", want an address`: client(httplimit.Client{Header: "Forwarded", TrustedProxies: []string{"proxy"}}),
		`Client.TrustedProxies[0] is "::ffff:0:0/90", want an`: client(httplimit.Client{Header: "Forwarded", TrustedProxies: []string{"::ffff:0:0/90"}}),

		`Headers is 0x10, want some of`:                        with(func(c *httplimit.Config) { c.Headers = 16 }),
		`Headers has NoHeaders and others`:                     with(func(c *httplimit.Config) { c.Headers = httplimit.NoHeaders | httplimit.IETFDraft11 }),
		`Headers has both XRateLimitDelta and XRateLimitEpoch`: with(func(c *httplimit.Config) { c.Headers = httplimit.XRateLimitDelta | httplimit.XRateLimitEpoch }),
		`MaxWaiting is -1, want 1 to 1000000, or 0 for 1000`:   with(func(c *httplimit.Config) { c.MaxWaiting = -1 }),
		`MaxWaiting is 1000001`:                                with(func(c *httplimit.Config) { c.MaxWaiting = 1_000_001 }),
		`keyed: MaxKeys -1 is out of range`:                    with(func(c *httplimit.Config) { c.Memory = keyed.Options{MaxKeys: -1} }),
		`Ban.For is 0s, want more than 0 and up to`:            with(func(c *httplimit.Config) { c.Ban.Refusals = "1/s" }),
		`Ban.For is 9000h0m0s`:                                 with(func(c *httplimit.Config) { c.Ban = httplimit.Ban{Refusals: "1/s", For: 9000 * time.Hour} }),
		`Ban.Refusals: notation: ""`:                           with(func(c *httplimit.Config) { c.Ban.For = time.Hour }),
		`Ban.Refusals is "1/s; 2/m", want a single rate`:       with(func(c *httplimit.Config) { c.Ban = httplimit.Ban{Refusals: "1/s; 2/m", For: time.Hour} }),
		`Defaults[0]: "1 per second": Store returned nil`:      with(func(c *httplimit.Config) { c.Store = func(httplimit.Spec) (httplimit.Store, error) { return nil, nil } }),
		`Defaults[0]: "1 per second": Store: no connection`: with(func(c *httplimit.Config) {
			c.Store = func(httplimit.Spec) (httplimit.Store, error) { return nil, errors.New("no connection") }
		}),
	} {
		_, err := httplimit.New(c)
		if err == nil || !strings.HasPrefix(err.Error(), "httplimit: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v\nwant %s", err, want)
		}
		if err != nil && strings.Contains(err.Error(), ".go:") {
			t.Errorf("%v: names a line of this package", err)
		}
	}
}

func TestMustNewPanicsWithTheError(t *testing.T) {
	defer func() {
		if err, ok := recover().(error); !ok || !strings.Contains(err.Error(), "nothing is limited") {
			t.Error(err)
		}
	}()
	httplimit.MustNew(httplimit.Config{})
}

// The least that New accepts limits.
func TestLeastConfigLimits(t *testing.T) {
	s := newServer(t, httplimit.Config{Defaults: rate("1 per day")}, nil)
	s.want("200 429", "GET /")
}
