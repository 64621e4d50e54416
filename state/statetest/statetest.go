// Package statetest proves that a state.Machine is what it must be.
package statetest

import (
	"bytes"
	"fmt"
	"io"
	"testing"

	"github.com/understudy-ha/understudy/state"
)

// Run applies the commands, in this order, to machines that fresh makes, and compares what their
// Snapshots are. It fails t where a machine is not deterministic; where a snapshot, restored, is
// not the state that the commands before it made, at any place among them; where Snapshot changes
// the state, or writes equal states in two ways; where a Restore does not read all, or swallows that
// reading failed; and where a machine panics. Give commands that use everything that the machine
// can do, each more than once, also such that cannot be done.
func Run[M state.Machine](t *testing.T, fresh func() M, commands ...[]byte) {
	t.Helper()
	if len(commands) == 0 {
		t.Fatal("no commands are given: give some that use everything that the machine can do")
	}
	whole := fresh()
	states := [][]byte{snapshot(t, whole)}
	for i, c := range commands {
		apply(t, whole, i, c)
		states = append(states, snapshot(t, whole))
		if again := snapshot(t, whole); !bytes.Equal(again, states[i+1]) {
			t.Fatalf("after command %d, %.80q: two snapshots of one machine differ: %s; Snapshot must write equal states in one way: sort what is in a map, and change nothing", i, c, differ(states[i+1], again))
		}
	}
	for range 3 { // a map may be in order by chance
		other := fresh()
		for i, c := range commands {
			apply(t, other, i, bytes.Clone(c))
		}
		if last := snapshot(t, other); !bytes.Equal(last, states[len(commands)]) {
			t.Fatalf("the same commands have made another state: %s; Apply must depend on nothing but the commands: no clock, no random number, no order of a map", differ(states[len(commands)], last))
		}
	}
	for from, s := range states {
		restored := fresh()
		read(t, restored, s, from)
		for i := from; i < len(commands); i++ {
			if is := snapshot(t, restored); !bytes.Equal(is, states[i]) {
				t.Fatalf("a machine that was restored after command %d differs after command %d: %s; Snapshot must write the whole state", from-1, i-1, differ(states[i], is))
			}
			apply(t, restored, i, commands[i])
		}
		if is := snapshot(t, restored); !bytes.Equal(is, states[len(commands)]) {
			t.Fatalf("a machine that was restored after command %d differs at last: %s; Snapshot must write the whole state", from-1, differ(states[len(commands)], is))
		}
	}
	fails(t, fresh, states[len(commands)])
}

func apply(t *testing.T, m state.Machine, i int, command []byte) {
	t.Helper()
	defer func() {
		if v := recover(); v != nil {
			t.Fatalf("Apply panics on command %d, %.80q: %v; a command that cannot be done must change nothing", i, command, v)
		}
	}()
	before := bytes.Clone(command)
	m.Apply(command)
	if !bytes.Equal(command, before) {
		t.Fatalf("Apply has changed command %d, %.80q", i, before)
	}
}

func snapshot(t *testing.T, m state.Machine) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := m.Snapshot(&b); err != nil {
		t.Fatalf("Snapshot: %v", err)
	}
	return b.Bytes()
}

// read restores a snapshot that comes in small pieces.
func read(t *testing.T, m state.Machine, data []byte, from int) {
	t.Helper()
	if err := m.Restore(&pieces{data: data}); err != nil {
		t.Fatalf("Restore of the snapshot after command %d: %v", from-1, err)
	}
}

// fails expects that Restore says what failed.
func fails[M state.Machine](t *testing.T, fresh func() M, data []byte) {
	t.Helper()
	if err := fresh().Restore(&pieces{data: data[:len(data)/2], err: io.ErrUnexpectedEOF}); err == nil && len(data) > 0 {
		t.Fatal("Restore returns nil though reading failed half way: it must return the error")
	}
	if n := (&limited{len(data) / 2}); len(data) > 0 {
		m := fresh()
		if m.Restore(bytes.NewReader(data)) == nil && m.Snapshot(n) == nil {
			t.Fatal("Snapshot returns nil though writing failed half way: it must return the error")
		}
	}
}

// differ shows where two snapshots begin to differ.
func differ(want, is []byte) string {
	at := 0
	for at < min(len(want), len(is)) && want[at] == is[at] {
		at++
	}
	show := func(b []byte) []byte { return b[max(0, at-20):min(len(b), at+40)] }
	return fmt.Sprintf("at byte %d, %q is %q", at, show(want), show(is))
}

// pieces is a reader that gives a few bytes at a time, and then an error, or the end.
type pieces struct {
	data []byte
	err  error
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.data) == 0 {
		if p.err != nil {
			return 0, p.err
		}
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), 7)], p.data)
	p.data = p.data[n:]
	return n, nil
}

type limited struct{ left int }

func (l *limited) Write(p []byte) (int, error) {
	if len(p) > l.left {
		return 0, io.ErrShortWrite
	}
	l.left -= len(p)
	return len(p), nil
}
