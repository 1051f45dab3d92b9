package httplimit

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"strings"
)

const (
	maxText    = 128 // of a key that is kept as it is, in bytes
	hashPrefix = "sha256:"
)

// key is what a limit counts by: a scope, and in it somebody. It is comparable,
// and made without allocating for an address.
type key struct {
	scope *scope // nil where nothing but the somebody matters

	// An address is in hi and lo, IPv4 as mapped into IPv6, and text is "".
	// Anybody else is in text, and hi and lo say what sort it is.
	hi, lo uint64
	text   string
}

// The sorts of text.
const (
	textAsGiven = iota
	textHashed  // because it was long
	textUnknown // a client without an address
)

// scope is what keeps counts apart within one limit.
type scope struct {
	route  string // "" for every route that is not known
	method string // "" for all
	shared string // a Scope, in place of a route
}

func addrKey(a netip.Addr) key {
	if !a.IsValid() {
		return key{hi: textUnknown, text: "unknown"}
	}
	b := a.As16()
	return key{hi: binary.BigEndian.Uint64(b[:8]), lo: binary.BigEndian.Uint64(b[8:])}
}

// textKey is the key of what a function named; text is not "".
func textKey(text string) key {
	if len(text) <= maxText {
		return key{text: text}
	}
	sum := sha256.Sum256([]byte(text))
	return key{hi: textHashed, text: string(sum[:])}
}

// in is k in a scope.
func (k key) in(s *scope) key {
	k.scope = s
	return k
}

// who is k without its scope, for people to read.
func (k key) who() string {
	switch {
	case k.text == "":
		var b [16]byte
		binary.BigEndian.PutUint64(b[:8], k.hi)
		binary.BigEndian.PutUint64(b[8:], k.lo)
		return netip.AddrFrom16(b).Unmap().String()
	case k.hi == textHashed:
		return hashPrefix + hex.EncodeToString([]byte(k.text))
	}
	return k.text
}

// String is different for different keys: what a client can choose comes last,
// after what kind it is of.
func (k key) String() string {
	var b strings.Builder
	if s := k.scope; s != nil {
		b.WriteString(s.shared)
		b.WriteString(s.route)
		if s.method != "" {
			b.WriteString(" per method ")
			b.WriteString(s.method)
		}
		b.WriteByte('|')
	}
	switch {
	case k.text == "":
		b.WriteString("addr|")
	case k.hi == textUnknown:
		b.WriteString("none|")
	case k.hi == textHashed:
		b.WriteString("hash|")
	default:
		b.WriteString("key|")
	}
	b.WriteString(k.who())
	return b.String()
}
