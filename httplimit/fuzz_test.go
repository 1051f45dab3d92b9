package httplimit

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
)

// FuzzClientAddress looks for a header that changes who a client is: whatever
// stands before what the trusted proxy wrote has no influence, and whatever is
// found is the proxy's own entry or a trusted hop.
func FuzzClientAddress(f *testing.F) {
	for _, s := range []string{
		"", "1.1.1.1", "1.1.1.1, 2.2.2.2", "for=1.1.1.1", `for="[2001:db8::1]:80";by=x, for=_x`, `"`, `\"`, `", for=1.1.1.1;x="`, `\", for=1.1.1.1;x="\`, "10.0.0.1", ",", ";", "[::1", "::ffff:1.2.3.4%eth0",
	} {
		f.Add(s, "198.51.100.7", "192.0.2.1:1")
		f.Add("x", s, s)
	}
	var finders []*clients
	for _, header := range []string{"X-Forwarded-For", "Forwarded", "X-Real-IP"} {
		for _, c := range []Client{{Header: header, TrustedProxies: []string{"10.0.0.0/8"}}, {Header: header, TrustedHops: 1}} {
			cs, err := newClients(c)
			if err != nil {
				f.Fatal(err)
			}
			finders = append(finders, cs)
		}
	}
	f.Fuzz(func(t *testing.T, client, proxy, remote string) {
		for _, cs := range finders {
			find := func(lines ...string) netip.Addr {
				a := cs.addr(&http.Request{RemoteAddr: remote, Header: http.Header{cs.header: lines}})
				if a.Zone() != "" || a.Is4In6() {
					t.Errorf("%q by %q: %v", lines, remote, a)
				}
				if a.IsValid() && !mentions(a, append(lines, remote)) {
					t.Errorf("%q by %q: %v is in neither", lines, remote, a)
				}
				return a
			}
			find(client)
			find(client, proxy)
			last := parseHop(remote)
			if cs.hops == 0 && !cs.trusts(last) && find(client, proxy) != last {
				t.Errorf("%q is believed of %q", client, remote)
			}
			// A proxy adds an address, and does not add quotes or commas to it.
			hop := parseHop(trim(proxy))
			if cs.kind == single || !hop.IsValid() || strings.ContainsAny(proxy, "\",;") || cs.hops == 0 && cs.trusts(hop) {
				continue
			}
			own := proxy
			if cs.kind == forwarded {
				// It adds what else the client said, quoted as it should be.
				own = `for="` + proxy + `";host="` + escape.Replace(client) + `"`
			}
			want := hop
			if cs.hops == 0 && !cs.trusts(last) {
				want = last
			}
			if a, b := find(client+","+own), find(client, own); a != want || b != want {
				t.Errorf("%q before %q by %q: %v and %v, want %v", client, own, remote, a, b, want)
			}
		}
	})
}

// escape makes a text a part of a quoted-string.
var escape = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

// mentions reports whether an address stands somewhere in what was sent, in one
// of its spellings.
func mentions(a netip.Addr, texts []string) bool {
	for _, text := range texts {
		for _, field := range strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(`,;="[] `+"\t", r) }) {
			field, _, _ = strings.Cut(field, "%")
			for end := len(field); end > 0; end = strings.LastIndexByte(field[:end], ':') {
				if b, err := netip.ParseAddr(field[:end]); err == nil && b.Unmap() == a {
					return true
				}
			}
		}
	}
	return false
}

// FuzzAccept looks for an Accept that crashes the reader, or whose parts in
// another line mean something else.
func FuzzAccept(f *testing.F) {
	for _, s := range []string{"", "*/*", "application/json;q=0.5, text/plain", "text/plain;q=1.001", ";q=", "a/b;q=0.5;q=1", ",,;;=="} {
		f.Add(s, "application/json")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		if wantsProblem([]string{a, b}) != wantsProblem([]string{a + "," + b}) {
			t.Errorf("%q and %q in two lines are not the same as in one", a, b)
		}
	})
}

// FuzzKeys looks for two who are one to a Store.
func FuzzKeys(f *testing.F) {
	f.Add("alice", "192.0.2.1")
	f.Add("addr|192.0.2.1", "key|alice")
	f.Fuzz(func(t *testing.T, a, b string) {
		if a == "" || b == "" {
			return
		}
		addr, _ := netip.ParseAddr(b)
		keys := []key{textKey(a), textKey(b), addrKey(addr), addrKey(netip.Addr{}), textKey(a + strings.Repeat("x", maxText)), textKey("unknown")}
		for _, x := range keys {
			for _, y := range keys {
				if (x == y) != (x.String() == y.String()) {
					t.Errorf("%+v and %+v are %q and %q", x, y, x.String(), y.String())
				}
			}
		}
	})
}
