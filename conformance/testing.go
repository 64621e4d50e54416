package conformance

import (
	"errors"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Distance is one for RunFar: as far as whatever works must still work, with a short TTL.
const Distance = "1s/0.85"

// RunFar runs the suite once for each of the distances, such as "1s/0.85,10s/0.1": the
// TTL, and Far.
func (s Suite) RunFar(t *testing.T, distances string) {
	for one := range strings.SplitSeq(distances, ",") {
		ttl, part, _ := strings.Cut(one, "/")
		var bad, worse error
		s.TTL, bad = time.ParseDuration(ttl)
		s.Far, worse = strconv.ParseFloat(part, 64)
		if err := errors.Join(bad, worse); err != nil {
			t.Fatalf("distance %q: write TTL/PART, such as %s: %v", one, Distance, err)
		}
		t.Run(strings.ReplaceAll(one, "/", "x"), s.Run)
	}
}

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
