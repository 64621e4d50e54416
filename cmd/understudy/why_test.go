package main

import (
	"strings"
	"syscall"
	"testing"
)

// TestStoreIsLost takes the store away from an active and its standbys. Each says what the
// store's own error is: in a warning of its own, in every heartbeat line, and where it loses
// the role. Nobody says who is active meanwhile.
func TestStoreIsLost(t *testing.T) { onEveryStore(t, testStoreIsLost) }

func testStoreIsLost(t *testing.T, r *trio) {
	for _, id := range r.ids {
		r.start(id, "--heartbeat", "200ms", "--log-level", "info", "--witness=false")
	}
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
	for _, id := range append(others, now.id) {
		r.awaitLog(id, "active=unknown")
		log := r.log(id)
		own := "no leader is known"
		if r.cluster != nil {
			own = "connection refused"
		}
		_, after, told := strings.Cut(log, `level=WARN msg="the store does not answer"`)
		if !told || !strings.Contains(strings.SplitN(after, "\n", 2)[0], own) {
			t.Errorf("%s has not told of %q", id, own)
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

// TestNobodyAsked: nothing says that a stop was asked for when a command died, and a command
// that failed is a warning.
func TestNobodyAsked(t *testing.T) {
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
