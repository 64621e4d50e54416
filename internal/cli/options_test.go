package cli

import (
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backends/memory"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/lock"
)

// TestNoPart: a role in which somebody takes part by now is not called missing, whatever a look before has shown.
func TestNoPart(t *testing.T) {
	t.Parallel()
	l := memory.New().Open()
	defer l.Close()
	const want = `role "x": nobody has taken part in it; the store has `
	if text := NoPart(t.Context(), l, "x"); text != want+"none" {
		t.Errorf("in an empty store: %q", text)
	}
	_, err := l.Register(t.Context(), lock.Contender{ID: "a", Session: "a"}, lock.Promise{TTL: time.Minute}, lock.Bid{Role: "r"})
	lab.Must(t, err)
	if text := NoPart(t.Context(), l, "x"); text != want+"r" {
		t.Errorf("beside another role: %q", text)
	}
	if text := NoPart(t.Context(), l, "r"); text != "" {
		t.Errorf("of a role that is there: %q", text)
	}
}
