package coordinator

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/understudy-ha/understudy/coordinator/internal/machine"
	"github.com/understudy-ha/understudy/lock"
)

// TestRefusedAtFirstIsToldOnce: what is refused from the first ends the run, and its last transition says so; one that
// is refused later is tried again for a while, and the log says why.
func TestRefusedAtFirstIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := newStage(t), &refusing{}
		l.Locker = s.store.Open()
		l.set("register")
		var log bytes.Buffer
		a := config("a")
		a.Logger = slog.New(slog.NewTextHandler(&log, nil))
		if err := Run(t.Context(), l, a, untilTold); !errors.Is(err, lock.ErrPermanent) {
			t.Errorf("Run returned %v", err)
		}
		if text := log.String(); strings.Count(text, "token was deleted") != 1 || strings.Contains(text, "refuses a call") || !strings.Contains(text, "to=stopped") {
			t.Error(text)
		}
		log.Reset()
		tr, refused := newTroubles(a), news{call: "register", event: machine.Registered{}, err: lock.Permanent(errors.New("no"))}
		tr.note(Clocks(), news{call: "register", event: machine.Registered{}})
		tr.note(Clocks(), refused)
		if n := strings.Count(log.String(), "refuses a call"); n != 1 {
			t.Errorf("a later refusal is told %d times:\n%s", n, log.String())
		}
	})
}
