package state_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backends/kv/kvmem"
	"github.com/understudy-ha/understudy/state"
)

// TestPanic: a command on which the active's machine panics was not acknowledged. It ends the term by
// its name, is skipped by all from then on, and poisons nobody.
func TestPanic(t *testing.T) {
	inBubble(t, func(r *rig) {
		a := r.start("a", options[*book]{})
		term := a.term()
		b := r.start("b", options[*book]{})
		a.append(term, "x=1")
		err := a.log.Append(r.Context(), term.Term, []byte("panic"))
		var p *state.PanicError
		if !errors.As(err, &p) || !p.Skipped || p.Command != (state.Command{Position: 3}) || p.Role != "r" || p.Value != "a bad command" || !strings.Contains(string(p.Stack), "Apply") {
			t.Fatalf("%+v", err)
		}
		<-term.ctx.Done()
		next := b.term()
		b.append(next, "y=2")
		want := map[string]string{"x": "1", "y": "2"}
		sees(b, want)
		sees(a, want) // with a new machine
		b.halt()
		a.append(a.term(), "z=3")
		want["z"] = "3"
		sees(a, want)
		a.halt()
	})
}

// TestPoison: a machine that panics on what was acknowledged keeps its own process from being
// active, by the command's name, and no other. An operator drops the command, or starts a program
// that can apply it.
func TestPoison(t *testing.T) {
	inBubble(t, func(r *rig) {
		a := r.start("a", options[*book]{Options: state.Options{Every: 1 << 20}})
		a.append(a.term(), "x=1", "old", "y=2")
		a.halt()
		worse := func() *book { b := newBook(); b.bad = "old"; return b }
		b := r.start("b", options[*book]{fresh: worse})
		time.Sleep(time.Minute) // of virtual time
		_, err := b.log.Read(func(*book) {})
		var p *state.PanicError
		if len(b.terms) > 0 || !errors.As(err, &p) || p.Skipped || !contains(err, "command 3/0: start a program that can apply it, or drop it for good with Options.Skip") {
			t.Fatalf("%d terms; %v", len(b.terms), err)
		}
		b.halt()
		all := map[string]string{"x": "1", "old": "", "y": "2"}
		c := r.start("c", options[*book]{})
		c.append(c.term(), "z=3") // a program that can apply it
		all["z"] = "3"
		sees(c, all)
		d := r.start("d", options[*book]{fresh: worse, Options: state.Options{Skip: []state.Command{{Position: 3}}}})
		delete(all, "old")
		sees(d, all)
		c.stop()
		d.append(d.term(), "w=4")
		all["w"] = "4"
		sees(d, all)
		e := r.start("e", options[*book]{fresh: worse}) // the log says it now
		sees(e, all)
		for _, p := range []*process[*book]{e, d, c} {
			p.halt()
		}
	})
}

// TestPanicUnnoted: a process that dies on a command, before it could note that, leaves it in the
// log: it may have been acknowledged.
func TestPanicUnnoted(t *testing.T) {
	inBubble(t, func(r *rig) {
		if r.server == nil {
			return // its calls cannot be made to fail
		}
		a := r.start("a", options[*book]{})
		term := a.term()
		a.append(term, "x=1")
		commits := 0
		a.client.On(func(c kvmem.Call) kvmem.Fault {
			for _, w := range c.Txn.Writes {
				if strings.HasSuffix(w.Key, "value/state/r/head") {
					commits++
				}
			}
			if commits > 1 {
				return kvmem.Fail(errLost)
			}
			return kvmem.Fault{}
		})
		err := a.log.Append(r.Context(), term.Term, []byte("panic"))
		var p *state.PanicError
		if !errors.As(err, &p) || p.Skipped {
			t.Fatalf("%+v", err)
		}
		a.kill()
		b := r.start("b", options[*book]{})
		time.Sleep(time.Minute) // of virtual time
		if _, err := b.log.Read(func(*book) {}); len(b.terms) > 0 || !errors.As(err, &p) || p.Skipped {
			t.Errorf("%d terms; %v", len(b.terms), err)
		}
		b.halt()
		c := r.start("c", options[*book]{Options: state.Options{Skip: []state.Command{{Position: 3}}}})
		c.append(c.term(), "y=2")
		sees(c, map[string]string{"x": "1", "y": "2"})
		c.halt()
	})
}

// TestFull: a log whose machine makes no snapshot is refused at last, with the number and the
// reason, and goes on when it can.
func TestFull(t *testing.T) {
	inBubble(t, func(r *rig) {
		if r.server != nil {
			return // its limit is large
		}
		m := &book{Pages: map[string]string{"bad": strings.Repeat("x", 2<<20)}}
		a := r.start("a", options[*book]{fresh: func() *book { return m }})
		term := a.term()
		var err error
		for i := 0; i < 100 && err == nil; i++ {
			err = a.log.Append(r.Context(), term.Term, []byte("k="+strings.Repeat("v", 100<<10)))
		}
		if !contains(err, "the limit is 1048576 in this store: no snapshot can be made: the snapshot has ") {
			t.Fatalf("%.500v", err)
		}
		delete(m.Pages, "bad")
		for range 30 {
			a.append(term, "k="+strings.Repeat("v", 10<<10))
			time.Sleep(time.Second) // of virtual time
		}
		a.halt()
	})
}
