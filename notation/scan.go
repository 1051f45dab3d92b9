package notation

import (
	"unicode"
	"unicode/utf8"
)

// kind is what a token is made of.
type kind uint8

const (
	end     kind = iota // of the input; empty
	blanks              // as many as there are
	digits              // 0 to 9, as many as there are
	letters             // of any script, as many as there are
	other               // one character, or one byte that is not UTF-8
)

// token is a piece of the input.
type token struct {
	kind   kind
	text   string
	offset int
}

// scanner cuts its input into tokens, without gaps.
type scanner struct {
	input  string
	offset int // where the next token begins
}

// next returns the next token; at the end, the end, again and again.
func (s *scanner) next() token {
	rest := s.input[s.offset:]
	k, n := classify(rest)
	if k == blanks || k == digits || k == letters {
		for {
			also, size := classify(rest[n:])
			if also != k {
				break
			}
			n += size
		}
	}
	t := token{k, rest[:n], s.offset}
	s.offset += n
	return t
}

// classify returns the kind of the first character and its size.
func classify(s string) (kind, int) {
	r, size := utf8.DecodeRuneInString(s)
	switch {
	case size == 0:
		return end, 0
	case '0' <= r && r <= '9':
		return digits, size
	case unicode.IsSpace(r), 0x1c <= r && r <= 0x1f: // the latter are blanks to Python
		return blanks, size
	case unicode.IsLetter(r):
		return letters, size
	}
	return other, size
}

// boundary is n, or the nearest before it at which s can be cut without cutting a
// character; at most len(s).
func boundary(s string, n int) int {
	n = min(n, len(s))
	for i := n; i > 0 && i > n-utf8.UTFMax; i-- {
		if i == len(s) || utf8.RuneStart(s[i]) {
			return i
		}
	}
	return n // of a short string or one that is not UTF-8
}
