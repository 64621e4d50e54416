package conformance

import (
	"slices"
	"testing"
	"testing/synctest"
)

// TestBroken plants mistakes in the store and around it. Each must be caught, by
// the case that is about it.
func TestBroken(t *testing.T) {
	all := slices.Concat(inStore, inLocker)
	if len(all) < 25 {
		t.Errorf("%d mistakes are planted, want 25 or more", len(all))
	}
	for _, p := range all {
		t.Run(p.what, func(t *testing.T) {
			at := slices.IndexFunc(cases(), func(c kase) bool { return c.name == p.caught })
			if at < 0 {
				t.Fatalf("there is no case %q", p.caught)
			}
			s := onShelf(p.mistake).defaults()
			var r Result
			synctest.Test(t, func(t *testing.T) { r = s.try(t.Context(), cases()[at]) })
			if r.Verdict != Failed {
				t.Errorf("%s does not catch it: %s %s", p.caught, r.Verdict, r.Why)
			}
			t.Logf("%s: %.300s", p.caught, r.Why)
		})
	}
}
