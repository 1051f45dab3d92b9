package verify

import (
	"context"
	"encoding/json"
	"flag"
	"io/fs"
	"iter"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/verify/step"
)

var (
	interleavings = flag.Int("interleavings", 20000, "check this many interleavings for each algorithm")
	stepped       = flag.Bool("stepped", false, "set by TestStepped: the limiters are built against package step")
)

// TestStepped builds the limiters anew, with a pause before each of their
// atomic operations, and runs the tests that can make use of that.
func TestStepped(t *testing.T) {
	if *stepped {
		t.Skip("running already")
	}
	overlay := steppedSources(t)
	args := []string{"test", "-count=1", "-vet=off", "-timeout=0", "-overlay=" + overlay, "-run=^(TestInterleavings|TestKeyInterleavings|TestKeyStepByStep|TestPlaceIsNotMissed|TestPlaceIsNotLost|TestLinearizable|TestRefusalIsOfOneState)$", ".", "-stepped"}
	flag.Visit(func(f *flag.Flag) {
		if f.Name == "interleavings" || f.Name == "histories" || f.Name == "test.v" {
			args = append(args, "-"+f.Name+"="+f.Value.String())
		}
	})
	out, err := exec.CommandContext(t.Context(), "go", args...).CombinedOutput()
	if err != nil {
		t.Errorf("go %s: %v", strings.Join(args, " "), err)
	}
	t.Logf("%s", out)
}

// steppedSources returns the name of a file for the go command's -overlay, which
// replaces the packages that have a stepping counterpart.
func steppedSources(t *testing.T) string {
	t.Helper()
	const to = `"github.com/ratekeep/ratelimit/verify/step/`
	imports := strings.NewReplacer(`"sync/atomic"`, to+`atomic"`, `"sync"`, to+`sync"`, `"runtime"`, to+`runtime"`, `"hash/maphash"`, to+`maphash"`)
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	replace := map[string]string{}
	for _, pkg := range []string{"tokenbucket", "leakybucket", "fixedwindow", "slidingwindow", "slidinglog", "keyed", "internal"} {
		err := filepath.WalkDir(filepath.Join(root, pkg), func(path string, e fs.DirEntry, err error) error {
			if err == nil && e.Name() == "limitertest" {
				return fs.SkipDir
			}
			if err != nil || e.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
				return err
			}
			source, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			to := filepath.Join(dir, strings.ReplaceAll(path[len(root)+1:], string(filepath.Separator), "-"))
			replace[path] = to
			return os.WriteFile(to, []byte(imports.Replace(string(source))), 0o600)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(name, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestInterleavings checks the histories of small random programs, each in all
// the interleavings of their steps in which the clients are not interrupted too
// often.
func TestInterleavings(t *testing.T) {
	if !*stepped {
		t.Skip("TestStepped runs it")
	}
	for _, s := range subjects {
		t.Run(s.name, func(t *testing.T) {
			e := newExplorer(&s)
			programs := uint64(0)
			for ; e.interleavings < *interleavings; programs++ {
				if history := e.program(programs); history != nil {
					t.Fatalf("program %d is not linearizable in interleaving %d of all:%s", programs, e.interleavings, describe(history))
				}
			}
			t.Logf("%d programs, %d interleavings, %d steps", programs, e.interleavings, e.steps)
			if e.steps < 5*e.interleavings {
				t.Error("the limiters take no steps: they were not built against package step")
			}
		})
	}
}

// explorer runs programs of a few clients step by step, one client at a time,
// in one interleaving after the other.
type explorer struct {
	subject       *subject
	spec          porcupine.Model
	interleavings int
	steps         int

	frozen  bool     // the clock, for all clients
	current *process // nil while there are no clients
	events  int64
}

// stepByStep is an explorer that the stepped build's steps stop at, until the test
// ends. In other builds the test is skipped.
func stepByStep(t *testing.T) *explorer {
	t.Helper()
	if !*stepped {
		t.Skip("TestStepped runs it")
	}
	e := new(explorer)
	pause, yield := step.Pause, step.Yield
	t.Cleanup(func() { step.Pause, step.Yield = pause, yield })
	step.Pause = func() { e.stop(false) }
	step.Yield = func() { e.stop(true) }
	return e
}

// process is a client that runs step by step.
type process struct {
	calls   []porcupine.Operation
	running int // which of them
	hand    hand

	next    func() (pause, bool) // runs it until it pauses
	pause   func(pause) bool     // called by its steps
	yielded bool
	done    bool
}

// pause is how a process has stopped: before a step, or because it cannot go on
// before others have.
type pause struct{ yielded bool }

// interruptions is how many times clients are interrupted that could go on, in
// each interleaving of a program of so many steps. The more steps there are, the
// fewer interruptions make many interleavings. Every eighth program is
// interrupted more often.
func interruptions(program uint64, steps int) int {
	most := 500
	if program%8 == 0 {
		most = 20000
	}
	n := 1
	for product := steps * steps; n < 4 && product <= most; product *= steps {
		n++
	}
	return n
}

func newExplorer(s *subject) *explorer {
	return &explorer{subject: s, spec: specification(s.model)}
}

// program makes a program of a seed and runs it in all interleavings. It returns
// a history that is not linearizable, or nil.
func (e *explorer) program(seed uint64) []porcupine.Operation {
	pause, yield := step.Pause, step.Yield
	defer func() { step.Pause, step.Yield = pause, yield }()
	step.Pause = func() { e.stop(false) }
	step.Yield = func() { e.stop(true) }

	// An interleaving is the sequence of the choices in it. The next one
	// differs in the last choice that has an alternative left.
	type choice struct{ made, of int }
	var choices []choice
	before := e.steps
	e.run(rand.New(rand.NewPCG(seed, 0)), 0, func(int) int { return 0 })
	most := interruptions(seed, e.steps-before)
	for {
		depth := 0
		history := e.run(rand.New(rand.NewPCG(seed, 0)), most, func(of int) int {
			if depth == len(choices) {
				choices = append(choices, choice{0, of})
			}
			depth++
			return choices[depth-1].made
		})
		e.interleavings++
		if !porcupine.CheckOperations(e.spec, history) {
			return history
		}
		last := len(choices) - 1
		for last >= 0 && choices[last].made == choices[last].of-1 {
			last--
		}
		if last < 0 {
			return nil
		}
		choices = choices[:last+1]
		choices[last].made++
	}
}

// run runs the program that rng makes, with so many interruptions left, in the
// interleaving that choose chooses, and returns its history.
func (e *explorer) run(rng *rand.Rand, left int, choose func(of int) int) []porcupine.Operation {
	e.current, e.events = nil, 0
	c := new(handClock)
	l := e.subject.build(c)
	start := []time.Duration{0, 40, 1000}[rng.IntN(3)]

	// What came before the program.
	var history []porcupine.Operation
	var granted []ratelimit.Decision
	for range rng.IntN(6) {
		c.hand = &hand{now: start + randomDuration(rng, maxStep)}
		op := porcupine.Operation{ClientId: clients, Input: randomCall(rng, e.subject.scale, &granted)}
		op.Call = e.event()
		e.call(l, &op, c.hand)
		if out := op.Output.(answer); out.decision.Allowed && op.Input.(call).verb == take {
			granted = append(granted, out.decision)
		}
		history = append(history, op)
	}

	// The program: two clients that make two calls each, or three with one.
	processes := make([]*process, 2+rng.IntN(2))
	for id := range processes {
		p := &process{calls: make([]porcupine.Operation, 4-len(processes))}
		p.hand = hand{now: start + maxStep + randomDuration(rng, 4*maxStep), step: []time.Duration{0, 3, -2}[rng.IntN(3)]}
		if e.frozen {
			p.hand = hand{now: start + maxStep}
		}
		for i := range p.calls {
			p.calls[i] = porcupine.Operation{ClientId: id, Input: randomCall(rng, e.subject.scale, &granted)}
		}
		processes[id] = p
		next, stop := iter.Pull(func(yield func(pause) bool) {
			p.pause = yield
			for p.running = range p.calls {
				e.call(l, &p.calls[p.running], &p.hand)
			}
		})
		defer stop()
		p.next = next
		e.resume(p, c) // up to its first step
	}

	// Who runs goes on unless interrupted. When it is done, any of the others
	// takes its turn; when it yields, the one that has waited longest.
	var last *process
	able := slices.Clone(processes) // those that are not done, last comes last
	for len(able) > 0 {
		i := 0
		switch {
		case last == nil || last.done:
			i = choose(len(able))
		case last.yielded:
		case left > 0:
			i = len(able) - 1 - choose(len(able))
		default:
			i = len(able) - 1
		}
		p := able[i]
		if last != nil && p != last && !last.done && !last.yielded {
			left--
		}
		if op := &p.calls[p.running]; op.Call == 0 {
			op.Call = e.event()
		}
		e.resume(p, c)
		e.steps++
		able = slices.Delete(able, i, i+1)
		if !p.done {
			able = append(able, p)
		}
		last = p
	}
	for _, p := range processes {
		history = append(history, p.calls...)
	}
	return history
}

// call makes a call of the limiter and notes how it was answered.
func (e *explorer) call(l limiter, op *porcupine.Operation, h *hand) {
	h.readings = nil
	out := op.Input.(call).to(l)
	out.readings = h.readings
	op.Output = out
	op.Return = e.event()
	if op.Call == 0 { // nobody could come in between
		op.Call = op.Return
	}
}

func (e *explorer) event() int64 {
	e.events++
	return e.events
}

// resume runs a process until it pauses.
func (e *explorer) resume(p *process, c *handClock) {
	e.current, c.hand = p, &p.hand
	how, ok := p.next()
	e.current = nil
	p.yielded, p.done = how.yielded, !ok
}

// stop pauses the process that runs, if there is one.
func (e *explorer) stop(yielded bool) {
	if e.current != nil {
		e.current.pause(pause{yielded})
	}
}

// handClock shows everybody a hand of its own.
type handClock struct{ hand *hand }

// hand is what a clock reads, and how far it moves when it is read.
type hand struct {
	now, step time.Duration
	readings  []time.Duration
}

func (c *handClock) Now() time.Duration {
	h := c.hand
	now := h.now
	h.now += h.step
	h.readings = append(h.readings, now)
	return now
}

func (c *handClock) Epoch() time.Time { return epoch }

func (c *handClock) Sleep(context.Context, time.Duration) error {
	panic("no call in a history waits")
}

// randomDuration is less than n.
func randomDuration(rng *rand.Rand, n time.Duration) time.Duration {
	return time.Duration(rng.Int64N(int64(n)))
}
