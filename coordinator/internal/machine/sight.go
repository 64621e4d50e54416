package machine

import (
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// A sight is what was seen of another session.
type sight struct {
	beat    lock.Beat
	promise lock.Promise
	since   Instant // when this beat was first received
	moved   bool    // another beat was received before this one
	dead    bool    // its process is proved dead
	twin    bool    // it has our contender ID
	calling bool    // an eviction is in flight
	retry   Instant // no eviction is tried before
	fence   fence
}

// observe records a member as received at an instant. Only another beat restarts the count:
// reading the same one again does not, nor does a reconnect.
func (s sight) observe(m lock.Member, at Instant) sight {
	if !s.since.IsZero() && s.beat == m.Beat {
		return s
	}
	return sight{
		beat: m.Beat, promise: m.Promise, since: at,
		moved: !s.since.IsZero() && m.Beat != lock.Absent, dead: s.dead, twin: s.twin, calling: s.calling,
		fence: s.fence.anew(),
	}
}

// due is how long it is until the session may be evicted. A session whose promise is not known is
// left to others. One that holds no role is in nobody's way, and beats so seldom that it may have
// missed one after a single promise: it has two promises. One that has our contender ID keeps us
// out, and has one.
func (s sight) due(now Instant, holds bool) time.Duration {
	switch {
	case s.promise.TTL <= 0:
		return never
	case s.dead || s.fence.phase == fenced:
		return now.Until(s.retry)
	}
	patience := s.promise.TTL + s.promise.Skew
	if !holds && !s.twin {
		patience *= 2
	}
	return max(patience-now.Least(s.since), now.Until(s.retry))
}
