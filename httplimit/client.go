package httplimit

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
)

// Client says how a request's client address is found. The zero Client takes
// that of the connection, [http.Request.RemoteAddr], and believes no header.
//
// Behind a proxy every connection is the proxy's. Header then names the field
// in which it passes on who connected to it, and TrustedProxies or TrustedHops
// says which proxies are believed. Whatever stands in the field to the left of
// the first hop that is not a trusted proxy came from the client, who may write
// anything there, and is not looked at.
//
// A header that is malformed where it matters counts for the last proxy that
// is trusted, and a connection without an address for the one unknown client.
// All whom that befalls share one limit.
type Client struct {
	// Header is the field that the proxies write: "X-Forwarded-For" or
	// "Forwarded" (RFC 7239), to which each adds an entry, or one that holds a
	// single address, such as "X-Real-IP" or "CF-Connecting-IP". The proxy must
	// set or clear it on every request.
	Header string

	// TrustedProxies are the addresses and prefixes (CIDR) of the proxies. The
	// client is the rightmost hop that is not among them, or the leftmost if
	// all are.
	TrustedProxies []string

	// TrustedHops is how many proxies each request passes, if their addresses
	// are not known: 1 to 32. The server must not be reachable in another way.
	TrustedHops int

	// IPv6Prefix is how many bits of an IPv6 address tell clients apart, 1 to
	// 128. 0 means 64: a customer or a machine commonly has all of a /64.
	IPv6Prefix int

	// IPv4Prefix is the same for IPv4 addresses, 1 to 32. 0 means 32. IPv4
	// addresses that are mapped into IPv6 are IPv4 addresses here.
	IPv4Prefix int
}

// clients finds addresses as a Client says.
type clients struct {
	header  string // canonical
	kind    headerKind
	proxies []netip.Prefix
	hops    int
	v6, v4  int
}

type headerKind int

const (
	noHeader headerKind = iota
	single
	xForwardedFor
	forwarded
)

func newClients(c Client) (*clients, error) {
	cs := &clients{header: http.CanonicalHeaderKey(c.Header), hops: c.TrustedHops, v6: cmp.Or(c.IPv6Prefix, 64), v4: cmp.Or(c.IPv4Prefix, 32)}
	trusting := len(c.TrustedProxies) > 0 || c.TrustedHops != 0
	switch {
	case cs.v6 < 1 || cs.v6 > 128:
		return nil, fmt.Errorf("Client.IPv6Prefix is %d, want 1 to 128, or 0 for 64", c.IPv6Prefix)
	case cs.v4 < 1 || cs.v4 > 32:
		return nil, fmt.Errorf("Client.IPv4Prefix is %d, want 1 to 32, or 0 for 32", c.IPv4Prefix)
	case c.TrustedHops < 0 || c.TrustedHops > 32:
		return nil, fmt.Errorf("Client.TrustedHops is %d, want 1 to 32, or 0 to trust no number of hops", c.TrustedHops)
	case len(c.TrustedProxies) > 0 && c.TrustedHops != 0:
		return nil, errors.New("Client.TrustedProxies and TrustedHops are both set, want one of them")
	case c.Header == "" && trusting:
		return nil, errors.New("Client.Header is empty, want the field that the trusted proxies write, such as X-Forwarded-For")
	case c.Header != "" && !trusting:
		return nil, fmt.Errorf("Client.Header is %q, but neither TrustedProxies nor TrustedHops says who is believed", c.Header)
	}
	switch {
	case c.Header == "":
	case !isToken(c.Header):
		return nil, fmt.Errorf("Client.Header is %q, want the name of a header field", c.Header)
	case cs.header == "X-Forwarded-For":
		cs.kind = xForwardedFor
	case cs.header == "Forwarded":
		cs.kind = forwarded
	default:
		cs.kind = single
		if c.TrustedHops > 1 {
			return nil, fmt.Errorf("Client.TrustedHops is %d, want 1: %s holds a single address", c.TrustedHops, cs.header)
		}
	}
	for i, text := range c.TrustedProxies {
		p, err := parsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("Client.TrustedProxies[%d] is %q, want an address or a CIDR prefix such as 10.0.0.0/8", i, text)
		}
		cs.proxies = append(cs.proxies, p)
	}
	return cs, nil
}

func parsePrefix(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil {
		a = a.Unmap().WithZone("")
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err == nil && p.Addr().Is4In6() {
		// Addresses are unmapped before they are compared.
		if p.Bits() < 96 {
			return p, errors.New("a mapped prefix of fewer than 96 bits")
		}
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked(), err
}

// sender is whom a request comes from.
type sender struct {
	limiter *Limiter
	request *http.Request

	address key // once it has been asked for
	known   bool
}

// key sets k to who the request is counted for by a limit with its own Key
// function, or nil.
func (s *sender) key(k *key, own func(*http.Request) string) {
	if own == nil {
		own = s.limiter.config.Key
	}
	if own != nil {
		if text := own(s.request); text != "" {
			*k = textKey(text)
			return
		}
	}
	if !s.known {
		clients := s.limiter.clients
		s.address, s.known = addrKey(clients.group(clients.addr(s.request))), true
	}
	*k = s.address
}

// group is the prefix that stands for an address. Of what is no address it is
// none.
func (cs *clients) group(a netip.Addr) netip.Addr {
	bits := cs.v6
	if a.Is4() {
		bits = cs.v4
	}
	if bits == a.BitLen() {
		return a
	}
	p, _ := a.Prefix(bits)
	return p.Addr()
}

// addr is the client's address, without a zone and never one mapped into IPv6,
// or none.
func (cs *clients) addr(r *http.Request) netip.Addr {
	last := parseHop(r.RemoteAddr)
	switch {
	case cs.kind == noHeader:
		return last
	case cs.hops == 0 && !cs.trusts(last):
		return last
	}
	lines := r.Header[cs.header]
	if cs.kind == single {
		// Of two lines or two entries one is not the proxy's.
		if len(lines) == 1 {
			if a := parseHop(trim(lines[0])); a.IsValid() {
				return a
			}
		}
		return last
	}
	list := hopList{lines: lines, forwarded: cs.kind == forwarded}
	for hop := 1; ; hop++ {
		entry, ok := list.last()
		if !ok {
			return last
		}
		a := parseHop(trim(entry))
		if !a.IsValid() {
			return last
		}
		last = a
		if cs.hops > 0 && hop == cs.hops || cs.hops == 0 && !cs.trusts(a) {
			return a
		}
	}
}

func (cs *clients) trusts(a netip.Addr) bool {
	for _, p := range cs.proxies {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// parseHop reads an address as proxies and net/http write them: with a port or
// without, in brackets or without.
func parseHop(s string) netip.Addr {
	const longest = len("[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255%") + 32 + len("]:65535")
	if len(s) > longest {
		return netip.Addr{}
	}
	host := s
	if strings.HasPrefix(s, "[") {
		end := strings.IndexByte(s, ']')
		if end < 0 || !isPort(s[end+1:]) {
			return netip.Addr{}
		}
		host = s[1:end]
		if !strings.Contains(host, ":") {
			return netip.Addr{} // brackets are for IPv6
		}
	} else if i := strings.IndexByte(s, ':'); i >= 0 && strings.IndexByte(s[i+1:], ':') < 0 {
		if !isPort(s[i:]) {
			return netip.Addr{}
		}
		host = s[:i]
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}
	}
	return a.WithZone("").Unmap()
}

// trim removes the blanks that may stand around an element of a header field.
func trim(s string) string { return strings.Trim(s, " \t") }

// isPort reports whether s is nothing or a colon and a port, which RFC 7239 lets
// a proxy hide behind a name that begins with an underscore.
func isPort(s string) bool {
	if s == "" {
		return true
	}
	if len(s) < 2 || s[0] != ':' {
		return false
	}
	for _, c := range []byte(s[1:]) {
		if (c < '0' || c > '9') && s[1] != '_' {
			return false
		}
	}
	return s[1] == '_' || len(s) <= len(":65535")
}
