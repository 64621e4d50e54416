package failover

import (
	"testing"
	"time"
)

// TestForget reads the lines of two contenders in the wrong order: the role moved from a
// to b before the fault, and what a wrote came later. The run is about b's term, or none.
func TestForget(t *testing.T) {
	s := &stage{}
	s.stamp("b", "start", 8, 2*time.Second)
	s.stamp("a", "start", 7, time.Second)
	if s.forget(term{id: "a", token: 7}) {
		t.Error("the role moved, and a's run goes on")
	}
	s.stamp("a", "end", 7, 2*time.Second)
	if !s.forget(term{id: "b", token: 8}) {
		t.Error("b is active, and there is no run")
	}
	r := Sample{Outcome: Moved}
	s.stamp("a", "start", 9, 5*time.Second)
	s.stamp("a", "success", 9, 5*time.Second)
	s.judge(Fault{}, 4*time.Second, *s.terms[0], &r)
	if r.New != "a" || r.Started != Moment(time.Second) {
		t.Errorf("judged %+v", r)
	}
}

// TestWorkThatHadEndedIsNoFailover: only what ended before the fault had ended before it.
func TestWorkThatHadEndedIsNoFailover(t *testing.T) {
	old := term{id: "a", token: 1, start: 1, success: 2, last: 3}
	for end, want := range map[time.Duration]bool{0: false, 4: true, 5: false, 6: false} {
		ended := old
		ended.end = end
		s := &stage{terms: []*term{{id: "b", token: 0, start: 1, end: 1}, &ended}}
		if got := s.endedBefore(old, 5); got != want {
			t.Errorf("a work that ended at %d had ended before 5: %t", end, got)
		}
	}
}
