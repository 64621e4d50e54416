package main

import (
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backends"
	"github.com/understudy-ha/understudy/internal/history"
	"github.com/understudy-ha/understudy/lock"
)

// noon is when the terms of the following answers ended or began, by the clocks of those who say so.
var noon = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// ended is what a says of the end of its term, 7.
func ended(cause string, at time.Duration, parts ...lock.Part) lock.Event {
	return lock.Event{At: noon.Add(at), By: "a", Kind: lock.Ended, Token: 7, Cause: cause, Parts: parts}
}

// began is what its successor says of its own, 8.
func began(by, cause string, at time.Duration, parts ...lock.Part) lock.Event {
	return lock.Event{At: noon.Add(at), By: by, Kind: lock.Began, Token: 8, From: "a", Previous: 7, Cause: cause, Parts: parts}
}

// lasted is a part of an event.
func lasted(name string, d time.Duration) lock.Part { return lock.Part{Name: name, Took: d} }

// soon is how long a takeover takes where nothing is wrong.
var soon = []lock.Part{lasted(lock.PartNotice, 5*ms), lasted(lock.PartGrant, 4*ms), lasted(lock.PartStart, ms)}

// after is a takeover after a silence.
func after(silent time.Duration) []lock.Part {
	return append([]lock.Part{lasted(lock.PartSilent, silent)}, soon...)
}

// away is the end of a term by an outage that the role could not be given back in.
func away(outage time.Duration) lock.Event {
	return ended(lock.CauseDeadline, 0, lasted(lock.PartWork, 60*sec), lasted(lock.PartDrain, ms), lasted(lock.PartRelease, outage-7*sec), lasted(lock.PartOutage, outage))
}

const (
	ms, sec = time.Millisecond, time.Second

	halve, outlast = "a ttl of 5s would halve it", "a ttl of 20s outlasts an outage of 10.25s"
)

// answers are what why says of a move, by the events of it, and what it must not say.
var answers = []struct {
	name      string
	events    []lock.Event
	want, not []string
}{
	{"the store was away while the role was to be given back", []lock.Event{
		ended(lock.CauseDeadline, 0, lasted(lock.PartWork, 60*sec), lasted(lock.PartDrain, ms), lasted(lock.PartRelease, 19270*ms), lasted(lock.PartOutage, 21*sec)),
		began("b", lock.CauseReleased, 0, soon...),
	}, []string{"its work ended in 1ms; the store did not answer, so the role was given back only 19.27s after that"}, []string{"the work of a took", "--stop-timeout", "stopping it"}},
	{"the work was slow", []lock.Event{
		ended(lock.CauseStopped, 0, lasted(lock.PartWork, 60*sec), lasted(lock.PartDrain, 4*sec), lasted(lock.PartRelease, 5*ms)), began("b", lock.CauseReleased, 0, soon...),
	}, []string{"its work ended in 4s, and giving the role back took 5ms", "the work of a took 4s to stop, with its --on-standby hook, if it has one: have the command end sooner when it is told to, or shorten --stop-timeout, and have the hook end sooner"}, []string{"did not answer"}},
	{"the store was slow to take the role back", []lock.Event{
		ended(lock.CauseStopped, 0, lasted(lock.PartWork, 60*sec), lasted(lock.PartDrain, 4*ms), lasted(lock.PartRelease, 2*sec)), began("b", lock.CauseReleased, 0, soon...),
	}, []string{"and giving the role back took 2s", "the store took 2s to take the role back from a"}, []string{"the work of a took"}},
	{"an older program does not tell the work's end from the role's", []lock.Event{
		ended(lock.CauseStopped, 0, lasted(lock.PartWork, 60*sec), lasted(lock.PartDrain, 19*sec)), began("b", lock.CauseReleased, 0, soon...),
	}, []string{"stopping it and giving the role up took 19s"}, []string{"the work of a took", "its work ended in"}},
	{"a silence that is the ttl's", []lock.Event{began("b", lock.CauseSilent, 0, after(10300*ms)...)}, []string{halve}, nil},
	{"a silence that had begun before anybody looked", []lock.Event{began("b", lock.CauseSilent, 0, after(0)...)}, nil, []string{halve}},
	{"a silence as long as an outage", []lock.Event{began("b", lock.CauseSilent, 0, after(34*sec)...)}, nil, []string{halve}},
	{
		"an outage that twice the ttl outlasts",
		[]lock.Event{away(7500 * ms), began("b", lock.CauseReleased, 0, soon...)},
		[]string{"the store did not answer a for 7.5s: " + outlast},
		nil,
	},
	{"an outage that may be longer than that", []lock.Event{away(8 * sec), began("b", lock.CauseReleased, 0, soon...)}, nil, []string{"a ttl of"}},
	{"a long outage", []lock.Event{away(100 * sec), began("b", lock.CauseReleased, 0, soon...)}, nil, []string{"a ttl of"}},
	{"nobody knows how long the store was away", []lock.Event{ended(lock.CauseDeadline, 0), began("b", lock.CauseReleased, 0, soon...)}, nil, []string{"a ttl of"}},
	{"drain and silence overlap", []lock.Event{
		ended(lock.CauseDeadline, 34900*ms, lasted(lock.PartWork, 60*sec), lasted(lock.PartDrain, ms), lasted(lock.PartRelease, 27200*ms), lasted(lock.PartOutage, 33*sec)),
		began("b", lock.CauseSilent, 34300*ms, after(34230*ms)...),
	}, []string{"Nobody was active for 26.6s, as far as is known"}, nil},
	{"clocks that differ", []lock.Event{
		ended(lock.CauseDeadline, 0, lasted(lock.PartWork, 60*sec), lasted(lock.PartDrain, ms), lasted(lock.PartRelease, 27200*ms), lasted(lock.PartOutage, 33*sec)),
		began("b", lock.CauseSilent, time.Hour, after(34230*ms)...),
	}, []string{"Nobody was active for at most 34.24s, as far as is known"}, nil},
	{
		"a former active that tells nothing",
		[]lock.Event{began("b", lock.CauseSilent, 0, after(10300*ms)...)},
		[]string{"Nobody was active for at most 10.31s, as far as is known"},
		nil,
	},
	{"a role that was given back", []lock.Event{
		ended(lock.CauseStopped, 0, lasted(lock.PartWork, 60*sec), lasted(lock.PartDrain, 4*sec), lasted(lock.PartRelease, 5*ms)), began("b", lock.CauseReleased, 0, soon...),
	}, []string{"Nobody was active for 15ms, as far as is known"}, nil},
	{"it is active again, and was away meanwhile", []lock.Event{
		ended(lock.CauseDeadline, 0, lasted(lock.PartWork, 60*sec), lasted(lock.PartDrain, 4*sec), lasted(lock.PartRelease, 2*sec)), began("a", lock.CauseReleased, 3*sec, soon...),
	}, []string{"Nobody was active for 5s, as far as is known"}, nil},
	{"an older program", []lock.Event{
		ended(lock.CauseStopped, 0, lasted(lock.PartWork, 60*sec), lasted(lock.PartDrain, 4*sec)), began("b", lock.CauseReleased, 0, soon...),
	}, []string{"Nobody was active for at most 4.01s, as far as is known"}, nil},
	{"an evicted one that noticed late", []lock.Event{
		ended(lock.CauseEvicted, 8*sec, lasted(lock.PartWork, 60*sec), lasted(lock.PartDrain, 4*sec), lasted(lock.PartRelease, 2*sec)), began("b", lock.CauseEvicted, 0, soon...),
	}, []string{"It lived, and both were at work for 6s, by their clocks"}, []string{"Nobody was active"}},
	{
		"an evicted one that has not said when its work ended",
		[]lock.Event{cameLater(began("b", lock.CauseEvicted, 0, soon...))},
		[]string{"When the work of a ended is not known"},
		[]string{"Nobody was active"},
	},
	{
		"a crash while the store was away",
		[]lock.Event{began("b", lock.CauseCrashed, 0, append(soon, lasted(lock.PartOutage, 2500*ms))...)},
		[]string{"The store had not answered b for 2.5s until then, so a may have died at any time in it", "Nobody was active for at least 10ms, as far as is known"},
		nil,
	},
	{
		"a crash, and then an outage",
		[]lock.Event{began("b", lock.CauseCrashed, 0, lasted(lock.PartNotice, 3*sec), lasted(lock.PartGrant, ms), lasted(lock.PartOutage, 2500*ms))},
		[]string{"Nobody was active for 3s, as far as is known"},
		[]string{"may have died"},
	},
	{
		"a silence while the store was away",
		[]lock.Event{cameLater(detailed(history.HadWitness, began("b", lock.CauseSilent, 0, append(after(10*sec), lasted(lock.PartOutage, 9*sec))...)))},
		[]string{"so it may have been the store that was away"},
		[]string{"could not end its session", "nobody stood by", halve},
	},
	{
		"a silence that was counted from a beat that the store wrote late",
		[]lock.Event{began("b", lock.CauseSilent, 0, append(after(2*sec), lasted(lock.PartOutage, 9*sec))...)},
		[]string{"Nobody was active for at most 11.01s, as far as is known"},
		nil,
	},
	{
		"a silence in which the store was away",
		[]lock.Event{began("b", lock.CauseSilent, 0, append(after(23*sec), lasted(lock.PartOutage, 17*sec))...)},
		[]string{"Nobody was active for at most 23.01s, as far as is known"},
		nil,
	},
	{
		"a silence that is too short for the outage to lie in it",
		[]lock.Event{began("b", lock.CauseSilent, 0, append(after(23*sec), lasted(lock.PartOutage, 24*sec))...)},
		[]string{"Nobody was active for at most 47.01s, as far as is known"},
		nil,
	},
	{
		"a crash that nobody was there to see",
		[]lock.Event{cameLater(began("b", lock.CauseCrashed, 0, soon...))},
		[]string{"(seen by b; its successor was not there yet)", "Nobody was active for at least 10ms, as far as is known"},
		nil,
	},
	{"a role that lay free for an hour", []lock.Event{
		ended(lock.CauseStopped, 0, lasted(lock.PartWork, 60*sec), lasted(lock.PartDrain, 4*sec), lasted(lock.PartRelease, 5*ms)), cameLater(began("b", lock.CauseReleased, time.Hour, soon...)),
	}, []string{"Nobody was active for 1h0m0s, as far as is known"}, []string{"at least"}},
	{"a role that lay free, by clocks that differ", []lock.Event{
		ended(lock.CauseStopped, time.Hour, lasted(lock.PartWork, 60*sec), lasted(lock.PartDrain, 4*sec), lasted(lock.PartRelease, 5*ms)), cameLater(began("b", lock.CauseReleased, 0, soon...)),
	}, []string{"Nobody was active for at least 10ms, as far as is known"}, nil},
	{
		"a role that was paused",
		[]lock.Event{paused(began("b", lock.CauseCrashed, 0, lasted(lock.PartNotice, 3340*ms)))},
		[]string{"b waited for 3.34s before it asked: the role was paused by h1\n"},
		[]string{"not ready"},
	},
	{
		"a store that was away while the role was free",
		[]lock.Event{ended(lock.CauseDeadline, 0), began("b", lock.CauseLost, 0, lasted(lock.PartNotice, 12760*ms), lasted(lock.PartGrant, ms), lasted(lock.PartStart, ms), lasted(lock.PartOutage, 14*sec))},
		[]string{"b waited for 12.76s before it asked: the store did not answer it for 14s\n", "Nobody was active for 12.76s", "and the store had not answered it for 14s"},
		[]string{"not ready"},
	},
	{
		"a store that was put back",
		[]lock.Event{rolledBack(began("b", lock.CauseReleased, 0, lasted(lock.PartNotice, 12760*ms)))},
		[]string{"b waited for 12.76s before it asked: the store had been put back to an earlier state, until its floor was raised or it gave greater tokens\n"},
		[]string{"not ready"},
	},
	{
		"a store that was away for longer than its active could see",
		[]lock.Event{away(7500 * ms), began("b", lock.CauseReleased, 0, lasted(lock.PartNotice, 12*sec), lasted(lock.PartGrant, ms))},
		nil,
		[]string{"a ttl of"},
	},
	{"work that stalled", []lock.Event{
		detailed("the work made no progress", ended(lock.CauseStalled, 0, lasted(lock.PartWork, 60*sec))), began("b", lock.CauseReleased, 0, soon...),
	}, []string{"It took over from a, token 7: its work made no progress."}, []string{"(the work made no progress"}},
	{"work that stalled as its disk did", []lock.Event{
		detailed("the work made no progress: no space", ended(lock.CauseStalled, 0, lasted(lock.PartWork, 60*sec))), began("b", lock.CauseReleased, 0, soon...),
	}, []string{"its work made no progress (no space)."}, nil},
	{
		"a host that was lost with its witness",
		[]lock.Event{detailed(history.HadWitness, began("b", lock.CauseSilent, 0, after(10300*ms)...))},
		[]string{"cut off; a fence command (--fence) that succeeds ends the wait for such a host at once\n"},
		nil,
	},
	{
		"a host that was lost with its witness, and could not be fenced",
		[]lock.Event{detailed(history.HadWitness, began("b", lock.CauseSilent, 0, append(after(2300*ms), lasted(lock.PartFence, 8*sec))...))},
		[]string{"lost, frozen or cut off\n", "a fence command that succeeds ends the wait at once: the log of who ran it says why it did not\n"},
		[]string{"--fence"},
	},
	{
		"a wait for which nobody has said why",
		[]lock.Event{began("b", lock.CauseCrashed, 0, lasted(lock.PartNotice, 3340*ms))},
		[]string{"why is not recorded, and its log says it: it was not ready, not healthy, drained, held down after a failure, or not the first in line, the role was paused, or the store was"},
		nil,
	},
}

// detailed is an event with a detail.
func detailed(detail string, e lock.Event) lock.Event {
	e.Detail = detail
	return e
}

// paused is an event of a term that began after a pause.
func paused(e lock.Event) lock.Event {
	e.Detail = "seen by b; the role was paused by h1"
	return e
}

// cameLater is an event of a term that began when the role had been free for long.
func cameLater(e lock.Event) lock.Event {
	e.Detail = history.Joined(firstOf(e.Detail, "seen by b"), history.CameLater)
	return e
}

func rolledBack(e lock.Event) lock.Event {
	e.Detail = "the store had been put back to an earlier state"
	return e
}

// TestWhyNobody: who stands by and may not take over is named, with why, as status has it.
func TestWhyNobody(t *testing.T) {
	member := func(id string) lock.Member {
		return lock.Member{Contender: lock.Contender{ID: id, Session: lock.SessionID("s" + id)}}
	}
	sick := func(id string, lowered int) lock.Member {
		m := member(id)
		m.Priority = 7 - lowered
		return m
	}
	drained := member("c")
	drained.Settings = lock.Settings{By: "h1", Drained: true}
	for want, line := range map[string][]lock.Member{
		"b, which is not ready, stands by, the first of 1: it takes over next":                      {sick("b", lock.NotReady)},
		"b, which is recovering from a failure, stands by, the first of 1: it takes over next":      {sick("b", lock.Recovering)},
		"Nobody may take over: b is not healthy; a is not healthy.":                                 {sick("b", lock.NotHealthy), sick("a", lock.NotHealthy)},
		"Nobody may take over: a has just given the role up; b is not healthy; c is drained by h1.": {member("a"), sick("b", lock.NotHealthy), drained},
		"b stands by, the first of 1: it takes over next":                                           {member("a"), member("b"), drained},
		"Nobody stands by": nil,
	} {
		st := lock.Standing{Role: "r", Term: lock.Term{Token: 7, Holder: member("a"), Over: "released"}, Line: line}
		if text := storyOf(heard{Standing: st}, nil).Text; !strings.Contains(text, want) {
			t.Errorf("why does not say %q: %s", want, text)
		}
		for _, one := range newRole(heard{Standing: st}).Standbys {
			if one.Unfit != "" && !strings.Contains(want, one.ID+" is "+one.Unfit) && !strings.Contains(want, "stands by") {
				t.Errorf("status says that %s is %s, and why %q", one.ID, one.Unfit, want)
			}
		}
	}
}

// TestSilentStandby: one that is dead takes nothing over, though it is shown until others end its session.
func TestSilentStandby(t *testing.T) {
	member := func(id string, age time.Duration) lock.Member {
		return lock.Member{Contender: lock.Contender{ID: id}, Promise: lock.Promise{TTL: 4 * time.Second}, Beat: 1, BeatAt: noon.Add(-age)}
	}
	for want, ages := range map[string][2]time.Duration{
		"Nobody may take over before its promise is over, within 4s of its last beat. c stands by":                                                         {2 * sec, 5 * sec},
		"Its promise is over, 4s after that beat, by its clock. Nobody takes over: c is silent (the last beat 1m0s ago, by its clock). Start a contender.": {60 * sec, 60 * sec},
	} {
		h := heard{lock.Standing{Role: "r", Term: lock.Term{Token: 7, Holder: member("a", ages[0])}, Line: []lock.Member{member("c", ages[1])}}, noon, "no beat for 1.5s"}
		if text := storyOf(h, nil).Text; !strings.Contains(text, want) {
			t.Errorf("why does not say %q: %s", want, text)
		}
		if row := newRole(h).Standbys[0]; (row.Silent != "") != (ages[1] > 6*sec) {
			t.Errorf("%v after its last beat: %q", ages[1], row.Silent)
		}
	}
}

// TestWhyWhereNothingIsWritten: where the store takes no write, a silent contender may live, and nobody can take over, not even
// one that is started now. why says so first, with the store's text, and leaves an active one alone.
func TestWhyWhereNothingIsWritten(t *testing.T) {
	old := lock.Member{Contender: lock.Contender{ID: "a"}, Promise: lock.Promise{TTL: 4 * sec}, Beat: 1, BeatAt: noon.Add(-60 * sec)}
	next := lock.Member{Contender: lock.Contender{ID: "c"}, Promise: lock.Promise{TTL: 4 * sec}}
	three, etcd := []string{"x", "y", "z"}, (backends.Config{Backend: "etcd"}).Row()
	for want, health := range map[string]backends.Health{
		"out of space: make room":                               {Members: three, Refuses: "out of space: make room"},
		"no majority: 2 of 3 must work; silent: y, z":           {Members: three, Silent: three[1:]},
		"no majority: 2 of 3 must work; failing: y, z; y: full": {Members: three, Failing: three[1:], Refuses: "y: full"},
	} {
		for name, h := range map[string]heard{
			"silent, the others too": {lock.Standing{Role: "r", Term: lock.Term{Token: 7, Holder: old}, Fence: lock.Fence{By: "c", Session: "s"}, Line: []lock.Member{old}}, noon, "no beat for 1.5s"},
			"silent":                 {lock.Standing{Role: "r", Term: lock.Term{Token: 7, Holder: old}, Line: []lock.Member{next}}, noon, "no beat for 1.5s"},
			"vacant":                 {lock.Standing{Role: "r", Term: lock.Term{Token: 7, Holder: old, Over: "released"}}, noon, ""},
			"new":                    {lock.Standing{Role: "r", Line: []lock.Member{next}}, noon, ""},
		} {
			s := storyOf(h, nil).with(inspection{Health: health}, etcd)
			if first := "Nobody can beat or take over: the store etcd: " + want + ". "; !strings.HasPrefix(s.Text, first) {
				t.Errorf("%s: why does not begin with %q: %s", name, first, s.Text)
			}
			for _, not := range []string{"lost or cut off", "takes over", "tart a contender", "free as soon"} {
				if strings.Contains(s.Text, not) || len(s.Faster) > 0 {
					t.Errorf("%s: why says %q: %s %q", name, not, s.Text, s.Faster)
				}
			}
		}
	}
	if text := (inspection{Health: backends.Health{Members: three, Silent: three[2:]}}).unwritable(); text != "" {
		t.Errorf("a majority works, and it says %q", text)
	}
	s := storyOf(heard{Standing: lock.Standing{Role: "r", Term: lock.Term{Token: 7, Holder: next}}}, nil)
	if is := s.with(inspection{Health: backends.Health{Members: three, Refuses: "full"}}, etcd); is.Text != s.Text {
		t.Errorf("of an active one: %s", is.Text)
	}
}

// TestWhyOfAGroupThatNeedsItsActive: where embedded Raft has no majority without the active's node, a witness would not help, and
// why does not miss one.
func TestWhyOfAGroupThatNeedsItsActive(t *testing.T) {
	holder := lock.Member{Contender: lock.Contender{ID: "a"}, Promise: lock.Promise{TTL: 4 * sec}}
	s := storyOf(heard{Standing: lock.Standing{Role: "r", Term: lock.Term{Token: 7, Holder: holder}}}, []lock.Event{{Kind: lock.Began, By: "a", Token: 7, Cause: lock.CauseFirst}})
	raft := (backends.Config{Backend: "raft"}).Row()
	for want, members := range map[string][]string{"no majority without a": {"a"}, "a, which is active now, has no witness": {"a", "b", "c"}} {
		if is := s.with(inspection{Health: backends.Health{Members: members}}, raft); len(is.Faster) != 1 || !strings.Contains(is.Faster[0], want) {
			t.Errorf("of a group of %d: %q, want %q", len(members), is.Faster, want)
		}
	}
}

// TestWhyOfAFullDisk: no ttl outlasts a full disk, and why gives no such advice.
func TestWhyOfAFullDisk(t *testing.T) {
	holder := lock.Member{Contender: lock.Contender{ID: "b", Witness: true}, Promise: lock.Promise{TTL: 4 * sec}}
	for detail, want := range map[string]string{
		`beat: raft: node "a" does not follow its group's log: it has stood before entry 7 for 2s; is the disk of /data/a full?`: "the disk of a took nothing: give its --raft-dir room",
		"beat: the store gave no answer within 375ms": "a ttl of 8s",
	} {
		s := storyOf(heard{Standing: lock.Standing{Role: "r", Term: lock.Term{Token: 8, Holder: holder}}}, []lock.Event{
			{Kind: lock.Ended, By: "a", Token: 7, Cause: lock.CauseDeadline, Detail: detail, Parts: []lock.Part{{Name: lock.PartOutage, Took: 2 * sec}}},
			{Kind: lock.Began, By: "b", From: "a", Token: 8, Previous: 7, Cause: lock.CauseReleased},
		})
		if len(s.Faster) != 1 || !strings.Contains(s.Faster[0], want) {
			t.Errorf("%s: %q, want %q", detail, s.Faster, want)
		}
	}
}

// TestWhyOfAPausedRole: why says that a role is paused while somebody has it, too.
func TestWhyOfAPausedRole(t *testing.T) {
	st := lock.Standing{Role: "r", Term: lock.Term{Token: 8, Holder: lock.Member{Contender: lock.Contender{ID: "b"}}}, Pause: lock.Pause{By: "h1", Why: "a new disk", At: noon}}
	text := storyOf(heard{Standing: st}, []lock.Event{began("b", lock.CauseReleased, 0, soon...)}).Text
	if want := "The role is paused by h1 (a new disk) until it is resumed, so nobody takes over."; !strings.Contains(text, want) {
		t.Errorf("why does not say %q: %s", want, text)
	}
}

// TestWhyAnswers: why blames and advises as it should, by what the events of a move say.
func TestWhyAnswers(t *testing.T) {
	for _, test := range answers {
		now := test.events[len(test.events)-1].By
		st := lock.Standing{Role: "r", Term: lock.Term{Token: 8, Holder: lock.Member{Contender: lock.Contender{ID: now, Witness: true}, Promise: lock.Promise{TTL: 10 * time.Second}}}}
		var text strings.Builder
		must(t, showStories(&text, "text", []story{storyOf(heard{Standing: st}, test.events)}))
		for _, want := range test.want {
			if !strings.Contains(text.String(), want) {
				t.Errorf("%s: why does not say %q:\n%s", test.name, want, text.String())
			}
		}
		for _, not := range test.not {
			if strings.Contains(text.String(), not) {
				t.Errorf("%s: why says %q:\n%s", test.name, not, text.String())
			}
		}
	}
}
