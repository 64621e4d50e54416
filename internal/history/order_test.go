package history

import (
	"slices"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// TestOrder: events come in the order of their terms. An end that its owner learned of late, as the store did not answer,
// comes where its time says. Where the clocks contradict the terms, the terms count.
func TestOrder(t *testing.T) {
	const release = 2 * time.Second
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	event := func(by, kind string, token lock.Token, after time.Duration) lock.Event {
		e := lock.Event{By: by, Kind: kind, Token: token, At: at.Add(after)}
		if kind == lock.Ended {
			e.Parts = []lock.Part{{Name: lock.PartDrain, Took: time.Hour}, {Name: lock.PartRelease, Took: release}}
		}
		return e
	}
	first := event("a", lock.Began, 6, -time.Hour)
	end := event("a", lock.Ended, 6, 0)
	for name, test := range map[string]struct{ given, want []lock.Event }{
		"the end came first":    {[]lock.Event{event("b", lock.Began, 7, 1), end, first}, []lock.Event{first, end, event("b", lock.Began, 7, 1)}},
		"the end was seen late": {[]lock.Event{first, end, event("b", lock.Began, 7, -release)}, []lock.Event{first, event("b", lock.Began, 7, -release), end}},
		"clocks that differ":    {[]lock.Event{first, event("b", lock.Began, 7, -release-1), end}, []lock.Event{first, end, event("b", lock.Began, 7, -release-1)}},
		"two terms meanwhile": {
			[]lock.Event{end, event("c", lock.Began, 8, -1), event("b", lock.Ended, 7, -2), event("b", lock.Began, 7, -3)},
			[]lock.Event{event("b", lock.Began, 7, -3), event("b", lock.Ended, 7, -2), event("c", lock.Began, 8, -1), end},
		},
		"its own next term": {[]lock.Event{end, event("a", lock.Began, 7, -1)}, []lock.Event{end, event("a", lock.Began, 7, -1)}},
	} {
		same := func(a, b lock.Event) bool { return a.By == b.By && a.Kind == b.Kind && a.Token == b.Token }
		if got := Sorted(test.given); !slices.EqualFunc(got, test.want, same) {
			t.Errorf("%s: the order is %v, want %v", name, got, test.want)
		}
	}
}
