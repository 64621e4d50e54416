package main

import (
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/lock"
)

// TestStatusOfTheSilent: whose session has no record is not called active, and which store
// says so is told.
func TestStatusOfTheSilent(t *testing.T) {
	st := lock.Standing{Role: "r", Store: "ABC", Term: lock.Term{Token: 7, Holder: lock.Member{Contender: lock.Contender{ID: "a", Session: "s"}}}}
	for beat, want := range map[lock.Beat]string{lock.Absent: "silent, its record is missing", 9: "active"} {
		st.Term.Holder.Beat = beat
		var out strings.Builder
		if err := show(&out, "table", newReport(st)); err != nil {
			t.Fatal(err)
		}
		if text := out.String(); !strings.Contains(text, "a   "+want) && !strings.Contains(text, "a  "+want) || !strings.Contains(text, "role r, store ABC\n") {
			t.Errorf("beat %d: want %q in\n%s", beat, want, text)
		}
	}
}
