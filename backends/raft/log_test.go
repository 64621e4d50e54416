package raft

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/understudy-ha/understudy/internal/lab"
)

// heard returns a logger at a level, and what it has said, without the time.
func heard(level slog.Level) (*slog.Logger, *lab.Said) {
	said := new(lab.Said)
	return slog.New(slog.NewTextHandler(said, &slog.HandlerOptions{Level: level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})), said
}

// TestLinesOfTheLibrary: whatever the Raft library says is at Debug, with its own level as a field and every value in words.
func TestLinesOfTheLibrary(t *testing.T) {
	for want, say := range map[string]func(hclog.Logger){
		`msg=a says=error`:                       func(l hclog.Logger) { l.Error("a") },
		`msg=a says=warn error=b`:                func(l hclog.Logger) { l.Warn("a", "error", errors.New("b")) },
		`msg=a says=info raft_time=1s raft_id=b`: func(l hclog.Logger) { l.Info("a", "time", time.Second, "id", "b") },
		`msg=a says=info last_index=7`:           func(l hclog.Logger) { l.Info("a", "last index", 7) },
		`msg=a says=debug received="3 / 9"`:      func(l hclog.Logger) { l.Debug("a", "received", hclog.Fmt("%d / %d", 3, 9)) },
		`msg=a says=info b=""`:                   func(l hclog.Logger) { l.Info("a", "b", hclog.Fmt("")) },
		`msg=a says=info b=[]`:                   func(l hclog.Logger) { l.Info("a", "b", hclog.Format{}) },
		`msg=a says=info servers="[a=x]"`:        func(l hclog.Logger) { l.Info("a", "servers", []Peer{{"a", "x"}}) },
		`msg=a says=info peer="a=x"`:             func(l hclog.Logger) { l.Info("a", "peer", Peer{"a", "x"}) },
		`msg=a says=info b=<nil>`:                func(l hclog.Logger) { l.Info("a", "b", nil) },
		`msg=a says=info term=3 b=c`:             func(l hclog.Logger) { l.With("term", 3).Info("a", "b", "c") },
		`msg=a says=info b=1 more=c`:             func(l hclog.Logger) { l.Named("raft").Info("a", "b", 1, "c") },
		`msg="a %d" says=info`:                   func(l hclog.Logger) { l.Info("a %d") },
		`msg=a says=info b=host d=1s`:            func(l hclog.Logger) { l.Info("a", "b", hclog.Quote("host"), "d", time.Second) },
		`msg=a says=info b="a text, 9 bytes"`:    func(l hclog.Logger) { l.Info("a", "b", hclog.Fmt("%s, %d bytes", []byte("a text"), 9)) },
	} {
		log, said := heard(slog.LevelDebug)
		say(raftLogger(log))
		if got := strings.Replace(said.String(), " component=raft", "", 1); got != "level=DEBUG "+want+"\n" {
			t.Errorf("got %swant level=DEBUG %s", got, want)
		}
		log, said = heard(slog.LevelInfo)
		say(raftLogger(log))
		if text := said.String(); text != "" {
			t.Errorf("at Info it says %s", text)
		}
	}
	log, said := heard(slog.LevelDebug - 4)
	raftLogger(log).Trace("a")
	if text := said.String(); text != "" {
		t.Errorf("what is below Debug is said: %s", text)
	}
}

// TestLinesOfBolt are at Debug, too, and nothing is put into words that nobody wants to read.
func TestLinesOfBolt(t *testing.T) {
	log, said := heard(slog.LevelDebug)
	b := boltLogger{log}
	b.Debug("a")
	b.Debugf("a %d", 1)
	b.Info("a")
	b.Infof("a %d", 1)
	b.Warning("b", 1)
	b.Warningf("c %d", 1)
	b.Error("d", 1)
	b.Errorf("e %d", 1)
	if text, want := said.String(), `level=DEBUG msg="b1" component=bbolt
level=DEBUG msg="c 1" component=bbolt
level=DEBUG msg="d1" component=bbolt
level=DEBUG msg="e 1" component=bbolt
`; strings.ReplaceAll(text, `"`, "") != strings.ReplaceAll(want, `"`, "") {
		t.Errorf("got\n%swant\n%s", text, want)
	}
	for name, f := range map[string]func(boltLogger){
		"f 1": func(b boltLogger) { b.Panicf("f %d", 1) }, "g1": func(b boltLogger) { b.Panic("g", 1) },
		"h 1": func(b boltLogger) { b.Fatalf("h %d", 1) }, "i1": func(b boltLogger) { b.Fatal("i", 1) }, // it does not end the process
	} {
		func() {
			defer func() {
				if p := recover(); p != name {
					t.Errorf("it panics with %v, want %s", p, name)
				}
			}()
			f(b)
		}()
	}
	quiet, _ := heard(slog.LevelInfo)
	text := new(asked)
	boltLogger{quiet}.Warningf("%s", text)
	boltLogger{quiet}.Error(text)
	raftLogger(quiet).Error("a", "b", text)
	if *text > 0 {
		t.Errorf("a value was put into words %d times for nobody", *text)
	}
}

// asked counts how often it was put into words.
type asked int

func (a *asked) String() string { *a++; return "" }

// TestLinesOfAGroup: a group that begins, loses its leader and gets it back says at most at Debug what the library says, and
// never what fmt makes of a value that does not fit.
func TestLinesOfAGroup(t *testing.T) {
	t.Parallel()
	log, said := heard(slog.LevelDebug)
	g := newGroup(t, 3, func(c *Config) {
		c.Logger = log
		c.snapshots = snapshots{threshold: 16, trailing: 4, interval: 10 * time.Millisecond}
	}).start()
	l, f := g.leader()
	g.kill(l)
	g.raises(f, 1000)
	s := register(t, g.lockers[f], "a")
	eventually(t, "a snapshot", func() bool { _ = s.Beat(timeout(t, 5*time.Second)); return g.nodes[f].dir.read().Kept > 0 })
	g.start(l)
	g.raises(l, 2000)
	for i := range g.nodes {
		g.stop(i)
	}
	lines := 0
	for line := range strings.Lines(said.String()) {
		of := strings.Contains(line, "component=raft") || strings.Contains(line, "component=bbolt")
		if of {
			lines++
		}
		if of && !strings.HasPrefix(line, "level=DEBUG ") || strings.Contains(line, "%!") || strings.Contains(line, "=map[]") || strings.Contains(line, "!BADKEY") || strings.Contains(line, "(0x") {
			t.Error(line)
		}
	}
	if lines < 20 {
		t.Errorf("the library has said no more than %d lines", lines)
	}
}

// TestSayings: a thing is told once a minute at most, the same news once, and its end once.
func TestSayings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s sayings
		is := func(what string, got, want bool) {
			t.Helper()
			if got != want {
				t.Errorf("%s: %v", what, got)
			}
		}
		is("the end of what was never said", s.over("a"), false)
		is("the first time", s.due("a"), true)
		is("at once again", s.due("a"), false)
		is("another thing", s.news("b", "x"), true)
		is("the end", s.over("a"), true)
		is("the end again", s.over("a"), false)
		is("soon after its end", s.due("a"), false)
		time.Sleep(again) // as long as nothing is said again about the same
		is("a minute later", s.due("a"), true)
		is("the same news a minute later", s.news("b", "x"), false)
		is("other news a minute later", s.news("b", "y"), true)
		is("other news at once", s.news("b", "x"), false)
		is("the end of the news", s.over("b"), true)
		time.Sleep(again) // as long as nothing is said again about the same
		is("the same news after their end", s.news("b", "y"), true)
	})
}
