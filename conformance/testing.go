package conformance

import (
	"testing"
	"testing/synctest"
)

// Run runs every case that applies as a subtest of t, and logs which do not and why.
func (s Suite) Run(t *testing.T) {
	s = s.defaults()
	defer s.measured()()
	s.each(func(c kase) {
		if why := s.lacks(c); why != "" {
			t.Logf("%s: not applicable: %s", c.name, why)
			return
		}
		t.Run(c.name, func(t *testing.T) {
			var r Result
			if s.Virtual {
				synctest.Test(t, func(t *testing.T) { r = s.try(t.Context(), c) })
			} else {
				r = s.try(t.Context(), c)
			}
			if r.Verdict == Failed {
				t.Errorf("%s\nthe rule: %s", r.Why, r.Rule)
			}
		})
	})
}
