package conformance

import (
	"testing"
	"testing/synctest"
)

// Run runs every case as a subtest of t.
func (s Suite) Run(t *testing.T) {
	s = s.defaults()
	s.each(func(c kase) {
		t.Run(c.name, func(t *testing.T) {
			var r Result
			if s.Virtual {
				synctest.Test(t, func(t *testing.T) { r = s.try(t.Context(), c) })
			} else {
				r = s.try(t.Context(), c)
			}
			switch r.Verdict {
			case Failed:
				t.Errorf("%s\nthe rule: %s", r.Why, r.Rule)
			case NotApplicable:
				t.Skipf("not applicable: %s", r.Why)
			}
		})
	})
}
