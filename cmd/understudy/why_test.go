package main

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/config"
	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/internal/cli"
	"github.com/understudy-ha/understudy/internal/history"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/lock"
)

// TestStoreIsLost takes the store away from an active and its standbys. Each says what the
// store's own error is: in a warning of its own, in every heartbeat line, and where it loses
// the role. Nobody says who is active meanwhile.
func TestStoreIsLost(t *testing.T) { onEveryStore(t, testStoreIsLost) }

func testStoreIsLost(t *testing.T, r *trio) {
	r.startAll("--heartbeat", "200ms", "--log-level", "info", "--witness=false")
	now := r.settle()
	others := r.others(now.id)
	if r.cluster != nil {
		r.cluster.Members[0].Kill()
	} else {
		for _, id := range others {
			r.kill(id, syscall.SIGKILL)
		}
		others = nil
	}
	r.awaitLog(now.id, "msg=draining")
	r.awaitLog(now.id, " work=ended") // and that is all that goes on
	for _, id := range append(others, now.id) {
		r.awaitLog(id, "active=unknown")
		own := "no leader is known" // be it not the first error, as on a connection that breaks
		if r.cluster != nil {
			own = "connection refused"
		}
		r.awaitLog(id, own)
		r.awaitLog(id, `level=WARN msg="the store does not answer"`) // a standby asks little: its watch may fail first
		_, after, told := strings.Cut(r.log(id), `level=WARN msg="the store does not answer"`)
		if first, _, _ := strings.Cut(after, "\n"); !told || !strings.Contains(first, " error=") {
			t.Errorf("%s has not warned with an error", id)
		}
		for line := range strings.Lines(after) {
			switch {
			case strings.Contains(line, "to=draining") && (!strings.Contains(line, "level=WARN") || !strings.Contains(line, " error=")):
				t.Errorf("no warning with an error: %s", line)
			case strings.Contains(line, " active=") && !strings.Contains(line, " error="):
				t.Errorf("no error: %s", line)
			case strings.Contains(line, " active=") && !strings.Contains(line, "msg=active") && !strings.Contains(line, "active=unknown"):
				t.Errorf("it cannot know who is active: %s", line)
			}
		}
	}
}

func (r *trio) others(id string) (others []string) {
	for _, other := range r.ids {
		if other != id {
			others = append(others, other)
		}
	}
	return others
}

// TestWhoseCommandEnded: where a process has several roles, its end names the one whose command ended.
func TestWhoseCommandEnded(t *testing.T) {
	all := &config.Config{Roles: []config.Role{{Name: "query"}, {Name: "data"}}}
	all.Coordinator.Logger = slog.New(slog.DiscardHandler)
	c := newCommands(&options{Options: &cli.Options{Config: all}}, nil)
	if text := c.byRole["data"].endedError(3, time.Now()).Error(); text != "the command of role data ended with code 3" {
		t.Error(text)
	}
}

// TestCommandThatEndedByItself: with code 0 its work is done, and that of other roles is stopped, as nobody failed.
func TestCommandThatEndedByItself(t *testing.T) {
	all := &config.Config{Roles: []config.Role{{Name: "query"}, {Name: "data"}}}
	all.Coordinator.Logger = slog.New(slog.DiscardHandler)
	for _, code := range []int{0, 3} {
		why := newCommands(&options{Options: &cli.Options{Config: all}}, nil).byRole["data"].endedError(code, time.Now())
		done, others := history.CauseOfStop("data", why) == lock.CauseDone, history.CauseOfStop("query", why)
		if done != (code == 0) || errors.Is(why, coordinator.ErrStopping) != done || others != lock.CauseStopped {
			t.Errorf("code %d: done is %v, and others are %s", code, done, others)
		}
	}
}

// TestNobodyAsked: nothing says that a stop was asked for when a command died, and a command
// that failed is a warning.
func TestNobodyAsked(t *testing.T) {
	t.Parallel()
	w := wrap(t, "exit 3")
	log := &strings.Builder{}
	w.cmd.Stderr = log
	w.start()
	if code := w.code(); code != 3 {
		t.Errorf("exit code %d, want 3", code)
	}
	text := log.String()
	for _, want := range []string{`level=WARN msg="command ended"`, `to=stopped reason="the command ended with code 3"`} {
		if !strings.Contains(text, want) {
			t.Errorf("not told: %s", want)
		}
	}
	if strings.Contains(text, "stop was asked for") {
		t.Errorf("nobody has asked:\n%s", text)
	}
}

// TestScripts: what the kernel cannot start is refused before a role is taken.
func TestScripts(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"#!/bin/sh\nexit 0\n", ""},
		{"#! /usr/bin/env sh\nexit 0\n", ""},
		{"echo hello\n", "is a script without a first line such as #!/bin/sh"},
		{"\n#!/bin/sh\n", "is a script without a first line such as #!/bin/sh"},
		{"#!/bin/sh\r\nexit 0\r\n", `its first line asks for "/bin/sh\r": save it with LF line ends, as by: sed -i 's/\r$//' `},
		{"#!/no/such/python\n", `its first line names the interpreter "/no/such/python", which does not exist: install it, or name one that is there`},
		{"#!/usr/bin/env python3\r\n", `its first line asks for "/usr/bin/env python3\r": save it with LF`},
		{"", "is empty: write a program into it, or name another file"},
	} {
		path := filepath.Join(t.TempDir(), "script")
		must(t, os.WriteFile(path, []byte(test.text), 0o755))
		var out, errs lab.Said
		code := execute(t.Context(), []string{"run", "--backend", "memory", "--role", "r", "--", path}, &out, &errs)
		switch {
		case test.want == "" && code != 0:
			t.Errorf("%q: exit code %d\n%s", test.text, code, errs.String())
		case test.want != "" && (code != cli.Usage || !strings.Contains(errs.String(), test.want) || strings.Contains(errs.String(), "transition")):
			t.Errorf("%q: exit code %d, want %q\n%s", test.text, code, test.want, errs.String())
		}
	}
	if err := findCommand(os.Args[0]); err != nil {
		t.Error(err)
	}
}

// TestWhyThatCannotBeWritten: a story that its reader does not get is a failure.
func TestWhyThatCannotBeWritten(t *testing.T) {
	out, err := os.OpenFile(os.DevNull, os.O_RDONLY, 0)
	must(t, err)
	defer out.Close()
	for _, format := range []string{"text", "json"} {
		if err := showStories(out, format, []story{{Role: "r", Text: "nobody"}}); err == nil {
			t.Errorf("%s: no error", format)
		}
	}
}

// TestWitnessOfTheSilent: why says of an active that is gone what was recorded, and that it does not know what was not,
// as by an older program; one that was only cut off had no use for a witness.
func TestWitnessOfTheSilent(t *testing.T) {
	for detail, want := range map[string]string{
		"seen by b; it had a witness": "a had a witness, which could not end its session",
		"seen by b; it had no witness; the fence command of b did not succeed: it ended with code 1": "a had no witness",
		"seen by b": "whether a had a witness is not recorded",
	} {
		st := lock.Standing{Role: "r", Term: lock.Term{Token: 8, Holder: lock.Member{Contender: lock.Contender{ID: "b"}, Promise: lock.Promise{TTL: time.Second}}}}
		events := []lock.Event{{Kind: lock.Began, By: "b", Token: 8, From: "a", Previous: 7, Cause: lock.CauseSilent, Detail: detail}}
		s := storyOf(heard{Standing: st}, events)
		if got := strings.Join(s.Faster, "\n"); !strings.Contains(got, want) || strings.Count(got, "witness") < 2 || !strings.Contains(s.Text, detail) {
			t.Errorf("%q: want %q, got %q and %q", detail, want, s.Text, got)
		}
		events = append(events, lock.Event{Kind: lock.Ended, By: "a", Token: 7, Cause: lock.CauseDeadline})
		if got := strings.Join(storyOf(heard{Standing: st}, events).Faster, "\n"); strings.Contains(got, "a had ") || strings.Contains(got, "whether a ") {
			t.Errorf("%q: it was cut off, and why says %q", detail, got)
		}
	}
}

// TestSilentWhileTheStoreWasAway: who saw the silence had no answer of the store either, and why says so.
func TestSilentWhileTheStoreWasAway(t *testing.T) {
	st := lock.Standing{Role: "r", Term: lock.Term{Token: 8, Holder: lock.Member{Contender: lock.Contender{ID: "b"}, Promise: lock.Promise{TTL: time.Second}}}}
	began := lock.Event{Kind: lock.Began, By: "b", Token: 8, From: "a", Previous: 7, Cause: lock.CauseSilent, Detail: "seen by b"}
	const words = "it may have been the store that was away"
	if text := storyOf(heard{Standing: st}, []lock.Event{began}).Text; strings.Contains(text, words) {
		t.Error(text)
	}
	began.Parts = []lock.Part{{Name: lock.PartOutage, Took: 9 * time.Second}}
	if text := storyOf(heard{Standing: st}, []lock.Event{began}).Text; !strings.Contains(text, "The store had not answered b for 9s either, so "+words) {
		t.Error(text)
	}
}

// TestMoveIsToldWhole: why waits until both have written about a move, unless one cannot.
func TestMoveIsToldWhole(t *testing.T) {
	at := time.Now()
	given := lock.Event{Kind: lock.Began, By: "b", Token: 8, From: "a", Previous: 7, Cause: lock.CauseReleased}
	ended := lock.Event{Kind: lock.Ended, By: "a", Token: 7, Cause: lock.CauseDrained}
	silent := given
	silent.Cause = lock.CauseSilent
	later := lock.Event{Kind: lock.Began, By: "a", Token: 9, Previous: 8}
	for name, test := range map[string]struct {
		events []lock.Event
		since  time.Duration // of the term
		want   bool
	}{
		"nothing":                      {nil, time.Millisecond, false},
		"nothing, and none will come":  {nil, 2 * time.Second, true},
		"only that it was given":       {[]lock.Event{given}, time.Millisecond, false},
		"only that, and no more comes": {[]lock.Event{given}, 2 * time.Second, true},
		"both":                         {[]lock.Event{ended, given}, time.Millisecond, true},
		"the dead writes nothing":      {[]lock.Event{silent}, time.Millisecond, true},
		"there was another since":      {[]lock.Event{ended, given, later}, time.Millisecond, false},
	} {
		st := lock.Standing{Role: "r", Term: lock.Term{Token: 8, Since: at.Add(-test.since), Holder: lock.Member{Contender: lock.Contender{ID: "b"}, Promise: lock.Promise{TTL: time.Second}}}}
		if got := (heard{Standing: st, at: at}).toldBy(test.events); got != test.want {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
}
