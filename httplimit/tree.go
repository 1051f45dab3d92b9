package httplimit

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// String is a tree of all routes and their limits, to be printed. Patterns that
// are not in Config.Routes appear once a request has come for them.
func (l *Limiter) String() string {
	var b strings.Builder
	for _, rt := range l.allRoutes() {
		name := rt.name
		switch {
		case rt == l.other:
			name = "every other route"
		case !strings.Contains(name, "/"):
			name += " (where Limiter.Route puts it)"
		}
		b.WriteString(name)
		b.WriteByte('\n')
		lines := []string{}
		for _, m := range rt.limits {
			lines = append(lines, m.String())
		}
		switch {
		case rt.exempt:
			lines = append(lines, "exempt")
		case len(lines) == 0:
			lines = append(lines, "no limits")
		}
		for i, line := range lines {
			branch := "├── "
			if i == len(lines)-1 {
				branch = "└── "
			}
			b.WriteString(branch)
			b.WriteString(line)
			b.WriteByte('\n')
		}
	}
	if l.ban != nil {
		fmt.Fprintf(&b, "ban of %v\n└── after more than %s refusals\n", l.ban.bans.Window, l.ban.refusals.Limit)
	}
	return b.String()
}

// String is the limit in a line: what it is, and how it differs from the usual.
func (m *limit) String() string {
	g := &m.given
	words := []string{m.usual.Limit.String()}
	if g.Name != "" {
		words = []string{g.Name + ": " + m.usual.Limit.String()}
	}
	for _, plan := range slices.Sorted(maps.Keys(m.plans)) {
		words = append(words, fmt.Sprintf("%s if %s", m.plans[plan].Limit, plan))
	}
	words = append(words, g.Strategy.String())
	if g.Burst > 0 {
		words = append(words, fmt.Sprintf("burst %d", g.Burst))
	}
	switch {
	case g.Scope != "":
		words = append(words, "shared as "+g.Scope)
	case m.shared:
		words = append(words, "shared by all routes")
	}
	for _, option := range []struct {
		set bool
		is  string
	}{
		{g.PerMethod, "per method"},
		{g.Key != nil, "own key"},
		{g.Cost != nil, "by cost"},
		{g.ExemptWhen != nil, "with exemptions"},
		{g.CountWhen != nil, "by outcome"},
		{g.MaxWait > 0, fmt.Sprintf("waits up to %v", g.MaxWait)},
	} {
		if option.set {
			words = append(words, option.is)
		}
	}
	return strings.Join(words, ", ")
}
