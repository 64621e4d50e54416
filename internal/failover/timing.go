package failover

import (
	"time"
)

// timing guesses how long a turn takes: as its like did, or as its promise says.
type timing struct{ seen map[string]average }

type average struct {
	sum time.Duration
	n   int
}

func newTiming() *timing { return &timing{map[string]average{}} }

func (t turn) key() string { return t.stage.site.backend.Name + " " + t.fault.Name }

func (t *timing) took(one turn, d time.Duration) {
	a := t.seen[one.key()]
	t.seen[one.key()] = average{a.sum + d, a.n + 1}
}

func (t *timing) expect(one turn) time.Duration {
	if a := t.seen[one.key()]; a.n > 0 {
		return a.sum / time.Duration(a.n)
	}
	return one.fault.Expect(one.stage.config.TTL)
}

// Expect is about how long a run takes, setting the stage included.
func (f Fault) Expect(ttl time.Duration) time.Duration {
	d := time.Second/2 + ttl/8
	switch {
	case f.servers:
		d += ttl + ttl/5 + 4*time.Second
	case f.silence:
		d += ttl
	case f.before != nil:
		d += ttl/4 + 4*time.Second
	}
	return d
}
