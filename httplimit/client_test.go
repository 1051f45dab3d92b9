package httplimit_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/ratekeep/ratelimit/httplimit"
)

// long is a key that is kept as a hash.
var long = strings.Repeat("k", 500)

func headerKey(name string) func(*http.Request) string {
	return func(r *http.Request) string { return r.Header.Get(name) }
}

// keyOf is who a request is counted for.
func keyOf(t *testing.T, c httplimit.Client, words ...string) (key string) {
	t.Helper()
	s := newServer(t, httplimit.Config{Defaults: rate("1/s"), Client: c},
		http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			res, _ := httplimit.FromContext(r.Context())
			key = res.Key()
		}))
	s.do(append([]string{"GET /"}, words...)...)
	return key
}

func TestClientAddressOfTheConnection(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.1:1234":                "192.0.2.1",
		"192.0.2.1":                     "192.0.2.1",
		"[2001:db8:1:2:3:4:5:6]:1234":   "2001:db8:1:2::",
		"2001:db8:1:2:3:4:5:6":          "2001:db8:1:2::",
		"[2001:db8:1:2:ffff::]:1":       "2001:db8:1:2::",
		"[::ffff:192.0.2.1]:1":          "192.0.2.1", // before grouping, or all of IPv4 were one client
		"[::ffff:c000:201]:1":           "192.0.2.1",
		"[::ffff:192.0.2.1%1]:1":        "192.0.2.1",
		"[fe80::1%eth0]:1":              "fe80::",
		"[fe80::1%" + long[:30] + "]:1": "fe80::",
		"[fe80::1%" + long + "]:1":      "unknown",
		"[::1]:1":                       "::",
		"":                              "unknown",
		"@":                             "unknown",
		"/run/server.sock":              "unknown",
		"192.0.2.1:port":                "unknown",
		"192.0.2.1:":                    "unknown",
		"192.0.2.1:123456":              "unknown",
		"192.0.2.256:1":                 "unknown",
		"192.0.2.01:1":                  "unknown",
		"[192.0.2.1]:1":                 "unknown",
		"[2001:db8::1":                  "unknown",
		"[2001:db8::1]x":                "unknown",
		"example.com:1":                 "unknown",
		"192.0.2.1:1, 192.0.2.2:1":      "unknown",
		strings.Repeat("1", 1<<16):      "unknown",
		"\x00":                          "unknown",
		"[2001:db8::1]:_secret":         "2001:db8::", // as RFC 7239 allows
	} {
		if got := keyOf(t, httplimit.Client{}, "from "+remote); got != want {
			t.Errorf("%.80q: %q, want %q", remote, got, want)
		}
	}
}

func TestClientPrefixes(t *testing.T) {
	for _, tc := range []struct {
		client       httplimit.Client
		remote, want string
	}{
		{httplimit.Client{IPv6Prefix: 128}, "[2001:db8::1]:1", "2001:db8::1"},
		{httplimit.Client{IPv6Prefix: 48}, "[2001:db8:1:2::1]:1", "2001:db8:1::"},
		{httplimit.Client{IPv6Prefix: 1}, "[2001:db8:1:2::1]:1", "::"},
		{httplimit.Client{IPv6Prefix: 48}, "192.0.2.1:1", "192.0.2.1"},
		{httplimit.Client{IPv4Prefix: 24}, "192.0.2.1:1", "192.0.2.0"},
		{httplimit.Client{IPv4Prefix: 24}, "[::ffff:192.0.2.1]:1", "192.0.2.0"},
	} {
		if got := keyOf(t, tc.client, "from "+tc.remote); got != tc.want {
			t.Errorf("%+v, %s: %q, want %q", tc.client, tc.remote, got, tc.want)
		}
	}
}

const (
	proxy1 = "from 10.0.0.1:1"
	proxy6 = "from [fd00::1]:1"
)

func TestClientBehindNamedProxies(t *testing.T) {
	proxies := []string{"10.0.0.0/8", "fd00::/16", "203.0.113.9", "fe80::/10", "::ffff:172.16.0.0/108", "::ffff:203.0.113.10"}
	for _, tc := range []struct {
		header string
		words  []string
		want   string
	}{
		// Nobody but a proxy is believed.
		{"X-Forwarded-For", []string{"from 192.0.2.1:1", "X-Forwarded-For: 198.51.100.1"}, "192.0.2.1"},
		{"X-Forwarded-For", []string{"from nowhere", "X-Forwarded-For: 198.51.100.1"}, "unknown"},
		{"X-Forwarded-For", []string{proxy1, "X-Forwarded-For: 198.51.100.1"}, "198.51.100.1"},
		{"X-Forwarded-For", []string{"from [::ffff:10.0.0.1]:1", "X-Forwarded-For: 198.51.100.1"}, "198.51.100.1"},
		{"X-Forwarded-For", []string{proxy6, "X-Forwarded-For: 198.51.100.1:99"}, "198.51.100.1"},
		{"X-Forwarded-For", []string{"from [fe80::1%eth0]:1", "X-Forwarded-For: 198.51.100.1"}, "198.51.100.1"},
		{"X-Forwarded-For", []string{"from 172.31.0.1:1", "X-Forwarded-For: 198.51.100.1, 203.0.113.10"}, "198.51.100.1"},
		{"X-Forwarded-For", []string{"from 172.32.0.1:1", "X-Forwarded-For: 198.51.100.1"}, "172.32.0.1"},
		// The rightmost hop that is no proxy, whatever the client wrote before it.
		{"X-Forwarded-For", []string{proxy1, "X-Forwarded-For: 1.1.1.1, 198.51.100.1"}, "198.51.100.1"},
		{"X-Forwarded-For", []string{proxy1, "X-Forwarded-For: 1.1.1.1,\t198.51.100.1 , 10.9.9.9,203.0.113.9"}, "198.51.100.1"},
		{"X-Forwarded-For", []string{proxy1, "X-Forwarded-For: garbage\"(, 198.51.100.1"}, "198.51.100.1"},
		{"X-Forwarded-For", []string{proxy1, "X-Forwarded-For: 1.1.1.1", "X-Forwarded-For: 198.51.100.1"}, "198.51.100.1"},
		{"X-Forwarded-For", []string{proxy1, "X-Forwarded-For: 198.51.100.1", "X-Forwarded-For: 10.0.0.2"}, "198.51.100.1"},
		{"X-Forwarded-For", []string{proxy1, "X-Forwarded-For: 2001:db8:1:2:3::4"}, "2001:db8:1:2::"},
		{"X-Forwarded-For", []string{proxy1, "X-Forwarded-For: ::ffff:198.51.100.1"}, "198.51.100.1"},
		// All of them proxies: the first.
		{"X-Forwarded-For", []string{proxy1, "X-Forwarded-For: 10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		// Malformed where it matters: the last proxy that is trusted.
		{"X-Forwarded-For", []string{proxy1, "X-Forwarded-For: 198.51.100.1, garbage"}, "10.0.0.1"},
		{"X-Forwarded-For", []string{proxy1, "X-Forwarded-For: 198.51.100.1, , 10.0.0.2"}, "10.0.0.2"},
		{"X-Forwarded-For", []string{proxy1, "X-Forwarded-For: "}, "10.0.0.1"},
		{"X-Forwarded-For", []string{proxy1}, "10.0.0.1"},
		// Another header is another header.
		{"X-Forwarded-For", []string{proxy1, "X-Real-IP: 198.51.100.1", "Forwarded: for=198.51.100.1"}, "10.0.0.1"},

		{"Forwarded", []string{proxy1, "Forwarded: for=198.51.100.1"}, "198.51.100.1"},
		{"forwarded", []string{proxy1, `Forwarded: by=10.0.0.1; For="198.51.100.1:80";proto=https;host="a,b;for=1.1.1.1"`}, "198.51.100.1"},
		{"Forwarded", []string{proxy1, `Forwarded: for="[2001:db8:1:2:3::4]:4711", for=10.0.0.2`}, "2001:db8:1:2::"},
		{"Forwarded", []string{proxy1, `Forwarded: for="[2001:db8:1:2:3::4]:_port"`}, "2001:db8:1:2::"},
		{"Forwarded", []string{proxy1, `Forwarded: for="1.1.1.1, for=198.51.100.1`}, "198.51.100.1"}, // a quote that the client opened
		// A quote with a backslash before it is a part of what is quoted, and a backslash with one is not before it.
		{"Forwarded", []string{proxy1, `Forwarded: for=198.51.100.1;host="a\", for=1.1.1.1;x=\""`}, "198.51.100.1"},
		{"Forwarded", []string{proxy1, `Forwarded: for=198.51.100.1;host="\";for=1.1.1.1;x=\""`}, "198.51.100.1"},
		{"Forwarded", []string{proxy1, `Forwarded: for=198.51.100.1;host="\\\", for=1.1.1.1;x=\"\\"`}, "198.51.100.1"},
		{"Forwarded", []string{proxy1, `Forwarded: for=1.1.1.1;host="a\\", for=198.51.100.1;x="\\"`}, "198.51.100.1"},
		{"Forwarded", []string{proxy1, `Forwarded: for="1.1.1.1\", for="198.51.100.1"`}, "198.51.100.1"},
		{"Forwarded", []string{proxy1, `Forwarded: for=1.1.1.1`, `Forwarded: for=198.51.100.1`}, "198.51.100.1"},
		{"Forwarded", []string{proxy1, `Forwarded: for=1.1.1.1, for=unknown`}, "10.0.0.1"},
		{"Forwarded", []string{proxy1, `Forwarded: for=1.1.1.1, for=_hidden, for=10.0.0.2`}, "10.0.0.2"},
		{"Forwarded", []string{proxy1, `Forwarded: for=1.1.1.1;for=2.2.2.2`}, "10.0.0.1"},
		{"Forwarded", []string{proxy1, `Forwarded: proto=https`}, "10.0.0.1"},
		{"Forwarded", []string{proxy1, `Forwarded: for="198.51.100.1`}, "10.0.0.1"},
		{"Forwarded", []string{proxy1, `Forwarded: for=`}, "10.0.0.1"},

		{"X-Real-IP", []string{proxy1, "X-Real-IP: 198.51.100.1"}, "198.51.100.1"},
		{"CF-Connecting-IP", []string{proxy1, "Cf-Connecting-Ip: 2001:db8:1:2:3::4"}, "2001:db8:1:2::"},
		{"X-Real-IP", []string{proxy1, "X-Real-IP: 1.1.1.1", "X-Real-IP: 198.51.100.1"}, "10.0.0.1"},
		{"X-Real-IP", []string{proxy1, "X-Real-IP: 1.1.1.1, 198.51.100.1"}, "10.0.0.1"},
		{"X-Real-IP", []string{"from 192.0.2.1:1", "X-Real-IP: 1.1.1.1"}, "192.0.2.1"},
		{"X-Real-IP", []string{proxy1}, "10.0.0.1"},
	} {
		c := httplimit.Client{Header: tc.header, TrustedProxies: proxies}
		if got := keyOf(t, c, tc.words...); got != tc.want {
			t.Errorf("%s, %q: %q, want %q", tc.header, tc.words, got, tc.want)
		}
	}
}

func TestClientBehindANumberOfHops(t *testing.T) {
	for _, tc := range []struct {
		header string
		hops   int
		words  []string
		want   string
	}{
		{"X-Forwarded-For", 1, []string{"X-Forwarded-For: 1.1.1.1, 198.51.100.1"}, "198.51.100.1"},
		{"X-Forwarded-For", 2, []string{"X-Forwarded-For: 1.1.1.1, 198.51.100.1, 10.0.0.2"}, "198.51.100.1"},
		{"X-Forwarded-For", 2, []string{"X-Forwarded-For: 198.51.100.1", "X-Forwarded-For: 10.0.0.2"}, "198.51.100.1"},
		{"X-Forwarded-For", 3, []string{"X-Forwarded-For: 198.51.100.1, 10.0.0.2"}, "198.51.100.1"}, // fewer than there should be
		{"X-Forwarded-For", 2, []string{"X-Forwarded-For: 1.1.1.1, bad, 10.0.0.2"}, "10.0.0.2"},
		{"X-Forwarded-For", 2, nil, "192.0.2.1"},
		{"Forwarded", 1, []string{"Forwarded: for=1.1.1.1, for=198.51.100.1"}, "198.51.100.1"},
		{"X-Real-IP", 1, []string{"X-Real-IP: 198.51.100.1"}, "198.51.100.1"},
		{"X-Real-IP", 1, []string{"from @", "X-Real-IP: 198.51.100.1"}, "198.51.100.1"}, // a Unix socket
	} {
		c := httplimit.Client{Header: tc.header, TrustedHops: tc.hops}
		if got := keyOf(t, c, append([]string{"from 192.0.2.1:1"}, tc.words...)...); got != tc.want {
			t.Errorf("%s, %d hops, %q: %q, want %q", tc.header, tc.hops, tc.words, got, tc.want)
		}
	}
}

func TestKeyFunctionElseAddress(t *testing.T) {
	s := newServer(t, httplimit.Config{
		Defaults: rate("1 per day"),
		Key:      headerKey("User"),
		Routes: map[string]httplimit.Route{
			"/key": {Limits: []httplimit.Limit{{Rate: "1 per day", Key: headerKey("X-API-Key")}}},
		},
	}, nil)
	s.want("200 429", "GET /", "User: alice")
	s.want("429", "GET /", "User: alice", "from 192.0.2.99:1")
	s.want("200 429", "GET /", "User: bob")
	s.want("200 429", "GET /", "from 192.0.2.99:1")
	s.want("200 429", "GET /", "User: 192.0.2.99") // is not that address
	s.want("200 429", "GET /", "User: unknown")    // nor somebody without one
	s.want("200 429", "GET /", "from nowhere")
	s.want("200 429", "GET /key", "User: alice", "X-API-Key: 1")
	s.want("429", "GET /key", "User: bob", "X-API-Key: 1")
}

func TestUnknownIdentitiesShareOneLimit(t *testing.T) {
	s := newServer(t, httplimit.Config{Defaults: rate("2 per day")}, nil)
	s.want("200", "GET /", "from @")
	s.want("200", "GET /", "from nowhere")
	s.want("429", "GET /", "from ")
	s.want("429", "GET /", "from [:1")
	s.want("200", "GET /")
}
