package statetest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/state"
	"github.com/understudy-ha/understudy/state/statetest"
)

// A good machine counts words.
type good struct{ Words map[string]int }

func newGood() *good { return &good{map[string]int{}} }

func (g *good) Apply(command []byte)       { g.Words[string(command)]++ }
func (g *good) Snapshot(w io.Writer) error { return json.NewEncoder(w).Encode(g) }
func (g *good) Restore(r io.Reader) error  { return json.NewDecoder(r).Decode(g) }

var words = [][]byte{[]byte("a"), []byte("b"), []byte("a"), {}, []byte("c"), []byte("d"), []byte("e"), []byte("f")}

func TestGood(t *testing.T) { statetest.Run(t, newGood, words...) }

type ( // mistakes
	random   struct{ *good }
	unsorted struct{ *good }
	forgets  struct {
		*good
		hidden int
	}
	panics   struct{ *good }
	changes  struct{ *good }
	swallows struct{ *good }
	halfway  struct{ *good }
	spoils   struct{ *good }
)

func (m random) Apply(c []byte) { m.good.Apply(fmt.Appendf(nil, "%s%d", c, rand.Int())) }
func (m unsorted) Snapshot(w io.Writer) error {
	for word, n := range m.Words {
		if _, err := fmt.Fprintln(w, word, n); err != nil {
			return err
		}
	}
	return nil
}

func (m *forgets) Apply(c []byte) {
	if m.hidden++; m.hidden > 3 {
		m.good.Apply(c)
	}
}

func (m panics) Apply(c []byte) {
	if len(c) == 0 {
		panic("an empty command")
	}
	m.good.Apply(c)
}

func (m changes) Snapshot(w io.Writer) error {
	m.Apply([]byte("snapshots"))
	return m.good.Snapshot(w)
}

func (m swallows) Restore(r io.Reader) error {
	data, _ := io.ReadAll(r)
	_ = json.Unmarshal(data, m.good)
	return nil
}

func (m halfway) Snapshot(w io.Writer) error {
	var b bytes.Buffer
	err := m.good.Snapshot(&b)
	_, _ = w.Write(b.Bytes())
	return err
}

func (m spoils) Apply(c []byte) {
	m.good.Apply(c)
	if len(c) > 0 {
		c[0] = 'x'
	}
}

// mistaken are machines with a mistake, and what is said of each.
var mistaken = map[string]struct {
	run  func(*testing.T)
	says string
}{
	"random":   {with(func() random { return random{newGood()} }), "have made another state"},
	"unsorted": {with(func() unsorted { return unsorted{newGood()} }), "must write equal states in one way"},
	"forgets":  {with(func() *forgets { return &forgets{newGood(), 0} }), "must write the whole state"},
	"panics":   {with(func() panics { return panics{newGood()} }), "Apply panics on command 3"},
	"changes":  {with(func() changes { return changes{newGood()} }), "two snapshots of one machine differ"},
	"swallows": {with(func() swallows { return swallows{newGood()} }), "Restore returns nil though"},
	"halfway":  {with(func() halfway { return halfway{newGood()} }), "Snapshot returns nil though"},
	"spoils":   {with(func() spoils { return spoils{newGood()} }), "Apply has changed command 0"},
	"nothing":  {func(t *testing.T) { statetest.Run(t, newGood) }, "no commands are given"},
}

func with[M state.Machine](fresh func() M) func(*testing.T) {
	return func(t *testing.T) {
		var own [][]byte
		for _, w := range words {
			own = append(own, bytes.Clone(w))
		}
		statetest.Run(t, fresh, own...)
	}
}

// TestMistakes runs each mistake as a test of its own, which must fail.
func TestMistakes(t *testing.T) {
	if m, ok := mistaken[os.Getenv("STATETEST_MISTAKE")]; ok {
		m.run(t)
		return
	}
	for name, m := range mistaken {
		c := exec.Command(os.Args[0], "-test.run", "^TestMistakes$")
		c.Env = append(os.Environ(), "STATETEST_MISTAKE="+name)
		out, err := c.CombinedOutput()
		if err == nil || !strings.Contains(string(out), m.says) {
			t.Errorf("%s: want %q: %s", name, m.says, out)
		}
	}
}
