// Package conformancetest runs the suite of package conformance as Go tests.
package conformancetest

import (
	"errors"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-ha/understudy/conformance"
)

// Distance is one for [RunFar]: a short TTL, and the greatest distance at which everything
// must still work.
const Distance = "2s/0.85"

// Run runs every case that the suite chooses as a subtest of t. It logs which cases do
// not apply, and why. It blocks until all have ended. A suite that is not valid fails t before
// its first case.
func Run(t *testing.T, s conformance.Suite) {
	if err := validate(t, s); err != nil {
		t.Fatal(err)
	}
	s.Each(func(c conformance.Case) {
		if why := c.Lacks(); why != "" {
			t.Logf("%s: not applicable: %s", c.Name(), why)
			return
		}
		t.Run(c.Name(), func(t *testing.T) {
			var r conformance.Result
			if s.Virtual {
				synctest.Test(t, func(t *testing.T) { r = c.Run(t.Context()) })
			} else {
				r = c.Run(t.Context())
			}
			if r.Verdict == conformance.Failed {
				t.Errorf("%s\nthe rule: %s", r.Why, r.Rule)
			}
		})
	})
}

// validate is Suite.Validate, where the store lives.
func validate(t *testing.T, s conformance.Suite) (err error) {
	if !s.Virtual {
		return s.Validate(t.Context())
	}
	synctest.Test(t, func(t *testing.T) { err = s.Validate(t.Context()) })
	return err
}

// RunFar runs the suite once for each of the distances, such as "1s/0.85,10s/0.1": the
// Suite's TTL, and its Far.
func RunFar(t *testing.T, s conformance.Suite, distances string) {
	for one := range strings.SplitSeq(distances, ",") {
		ttl, part, _ := strings.Cut(one, "/")
		var bad, worse error
		s.TTL, bad = time.ParseDuration(ttl)
		s.Far, worse = strconv.ParseFloat(part, 64)
		if err := errors.Join(bad, worse); err != nil {
			t.Fatalf("distance %q: write TTL/PART, such as %s: %v", one, Distance, err)
		}
		t.Run(strings.ReplaceAll(one, "/", "x"), func(t *testing.T) { Run(t, s) })
	}
}
