package lock

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

// TestAddEvent keeps the order in which events came, each once, and the latest of too many.
func TestAddEvent(t *testing.T) {
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	event := func(i int) Event {
		return Event{At: at.Add(-time.Duration(i)), By: "a", Kind: Began, Token: Token(i)}
	}
	var all []Event
	for i := range 3 * MaxHistory {
		before := fmt.Sprint(all)
		next, added := AddEvent(all, event(i))
		if fmt.Sprint(all) != before || !added {
			t.Fatal("the history that was given is changed")
		}
		all = next
		if want := min(i+1, MaxHistory); len(all) != want || all[0].Token != Token(i+1-want) || all[want-1].Token != Token(i) {
			t.Fatalf("after %d: %d events from %d to %d", i+1, len(all), all[0].Token, all[len(all)-1].Token)
		}
		again := event(i)
		again.At, again.Detail = again.At.In(time.FixedZone("other", 3600)), "told twice"
		if twice, added := AddEvent(all, again); added || !reflect.DeepEqual(twice, all) {
			t.Fatalf("an event is there twice: %+v", twice)
		}
	}
	large := event(1000)
	large.Detail = strings.Repeat("x", MaxText)
	for range MaxHistory {
		large.Token++
		all, _ = AddEvent(all, large)
	}
	if size := len(all) * large.size(); size > MaxHistorySize || size+large.size() <= MaxHistorySize {
		t.Errorf("%d bytes are kept, the limit is %d", size, MaxHistorySize)
	}
}

// TestBadDecisions are refused with the field, the value and the limit.
func TestBadDecisions(t *testing.T) {
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	long, good := strings.Repeat("x", MaxText+1), Event{At: at, By: "a", Kind: Began}
	event := func(change func(*Event)) error { e := good; change(&e); return CheckEvent(e) }
	many := map[string]int{}
	for i := range MaxSettings / 16 {
		many[fmt.Sprintf("%010d", i)] = 1
	}
	for _, bad := range []struct {
		want string
		err  error
	}{
		{`by "": must not be empty`, CheckPause(Pause{Why: "w"})},
		{"why: has 1025 bytes, the limit is 1024", CheckPause(Pause{By: "op", Why: long})},
		{"why: has the unprintable character U+000A at byte", CheckPause(Pause{By: "op", Why: "a\nb"})},
		{"why: is not valid UTF-8", CheckPause(Pause{By: "op", Why: "\xff"})},
		{"beat 0: must be the one that was seen", CheckFence(Fence{By: "b", Session: "s", Beat: Absent})},
		{"must be the one that was seen", CheckFence(Fence{By: "b", Session: "s", Beat: AnyBeat})},
		{`session "": must not be empty`, CheckFence(Fence{By: "b", Beat: 1})},
		{"must be after", CheckPause(Pause{By: "op", At: at, Until: at})},
		{`by "": must not be empty`, CheckSettings(Settings{Drained: true})},
		{`role "": must not be empty`, CheckSettings(Settings{By: "op", Priorities: map[string]int{"": 1}})},
		{"2048 roles take 36864 bytes, the limit is 32768", CheckSettings(Settings{By: "op", Priorities: many})},
		{"at: must say when", CheckEvent(Event{By: "a", Kind: Began})},
		{`kind "": must not be empty`, event(func(e *Event) { e.Kind = "" })},
		{"detail: has 1025 bytes", event(func(e *Event) { e.Detail = long })},
		{`from "a\nb"`, event(func(e *Event) { e.From = "a\nb" })},
		{`cause "a\nb"`, event(func(e *Event) { e.Cause = "a\nb" })},
		{"parts: there are 17, the limit is 16", event(func(e *Event) { e.Parts = make([]Part, MaxParts+1) })},
		{`part "": must not be empty`, event(func(e *Event) { e.Parts = []Part{{}} })},
	} {
		if !errors.Is(bad.err, ErrPermanent) || !strings.Contains(bad.err.Error(), bad.want) {
			t.Errorf("%v, want %q", bad.err, bad.want)
		}
	}
	if err := errors.Join(CheckPause(Pause{}), CheckPause(Pause{By: "op", At: at}), CheckFence(Fence{By: "b", Session: "s", Beat: 1}), CheckSettings(Settings{}), CheckEvent(good), CheckPause(Pause{By: "op", At: at, Until: at.Add(1)})); err != nil {
		t.Error(err)
	}
}

// TestEventsOfOthers are other events, however much alike.
func TestEventsOfOthers(t *testing.T) {
	e := Event{At: time.Unix(1, 0), By: "a", Kind: Began, Token: 1}
	all, _ := AddEvent(nil, e)
	for _, change := range []func(*Event){
		func(e *Event) { e.By = "b" }, func(e *Event) { e.Kind = Ended }, func(e *Event) { e.Token = 2 }, func(e *Event) { e.At = e.At.Add(1) },
	} {
		other := e
		change(&other)
		if two, added := AddEvent(all, other); !added || len(two) != 2 {
			t.Errorf("%+v is not added to %+v", other, all)
		}
	}
}

// TestFenceIsZero where nobody is named.
func TestFenceIsZero(t *testing.T) {
	if !(Fence{}).IsZero() || (Fence{Session: "s"}).IsZero() {
		t.Error("zero is another")
	}
}
