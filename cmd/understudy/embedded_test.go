package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backends"
	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/coordinator/witness"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/lock"
)

// An embedder is a program that runs a coordinator of its own, as this test binary does
// when it is told so.
type embedder struct {
	Store   backends.Config
	Witness string // the program that is its witness; empty: itself
	NoExit  bool
	Busy    time.Duration // how long its work does not heed its context
}

// embed is the whole main of an embedder, after the line that calls witness.Main.
func embed(text string) error {
	var e embedder
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		return err
	}
	locker, err := backends.Open(context.Background(), e.Store)
	if err != nil {
		return err
	}
	config := coordinator.Config{ID: fmt.Sprint("embedder-", os.Getpid()), Roles: []lock.Bid{{Role: "r"}}, TTL: 30 * time.Second, NoExit: e.NoExit}
	config.Witness = witness.New(e.Store)
	if e.Witness != "" {
		config.Witness = witness.By(e.Witness, e.Store)
	}
	if e.NoExit {
		config.TTL = 2 * time.Second
	}
	return coordinator.Run(context.Background(), locker, config, func(ctx context.Context, t coordinator.Term) error {
		fmt.Println("works")
		<-ctx.Done()
		time.Sleep(e.Busy) // work that is slow to stop
		return nil
	})
}

func (e embedder) start(t *testing.T) *lab.Child {
	t.Helper()
	text, err := json.Marshal(e)
	must(t, err)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "UNDERSTUDY_TEST=embed "+string(text))
	cmd.Stderr = os.Stderr
	c := lab.Talk(t, cmd)
	c.Want("works")
	return c
}

// TestEmbedded kills embedders whose witness is their own program, and the understudy
// command: their sessions are ended long before the promise.
func TestEmbedded(t *testing.T) {
	t.Parallel()
	r := newTrio(t, onEtcd)
	l, err := backends.Dial(t.Context(), r.store)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, by := range []string{"", filepath.Join(shipped(t), "understudy")} {
		p := embedder{Store: r.store, Witness: by}.start(t)
		st, err := standing(t.Context(), l, "r")
		if err != nil || st.Term.Vacant() || !st.Term.Holder.Witness {
			t.Fatalf("%v: %+v", err, st)
		}
		began := time.Now()
		_ = p.Signal(os.Kill)
		for st, err = range l.Watch(t.Context(), "r") {
			if err == nil && st.Term.Vacant() {
				break
			}
		}
		if want := "the witness of " + st.Term.Holder.ID; st.Term.End.By != want {
			t.Errorf("ended by %q, want %q", st.Term.End.By, want)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("the role is vacant %v after the kill, which is no better than the ttl", took)
		}
	}
}

// TestNoExit is an embedder that opted out of the exit: its witness does not kill it
// either, be it stopped until its promise is over, and another takes the role.
func TestNoExit(t *testing.T) {
	t.Parallel()
	r := newTrio(t, onEtcd)
	first := embedder{Store: r.store, NoExit: true}.start(t)
	_ = first.Pause()
	embedder{Store: r.store, NoExit: true}.start(t)
	if state, _ := r.state(first.PID()); state != "T" {
		t.Errorf("the first is in state %q, want it to be stopped still", state)
	}
}
