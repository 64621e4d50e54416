package main

import (
	"bufio"
	"context"
	"fmt"
	"iter"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-ha/understudy/backends"
	"github.com/understudy-ha/understudy/backends/memory"
	"github.com/understudy-ha/understudy/backends/raft"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/lock"
)

// TestStatusOfTheSilent: whose session has no record is not called active, and which store
// says so is told.
func TestStatusOfTheSilent(t *testing.T) {
	st := lock.Standing{Role: "r", Store: "ABC", Term: lock.Term{Token: 7, Holder: lock.Member{
		Contender: lock.Contender{ID: "a", Session: "s"}, Promise: lock.Promise{TTL: time.Second}, BeatAt: time.Now(),
	}}}
	l := memory.New().Open()
	defer l.Close()
	for beat, want := range map[lock.Beat]string{lock.Absent: "silent: its session's record is missing", 9: "active"} {
		st.Term.Holder.Beat = beat
		var out strings.Builder
		if err := newReport("memory", backends.Health{}, listen(t.Context(), l, []lock.Standing{st})).show(&out, "table"); err != nil {
			t.Fatal(err)
		}
		if text := out.String(); !strings.Contains(text, "\na   "+want) || !strings.HasPrefix(text, "store memory ABC\n\nrole r\n") {
			t.Errorf("beat %d: want %q in\n%s", beat, want, text)
		}
	}
}

// TestStatusListens: an active whose last beat is old by its owner's clock is silent only if
// no other comes while one is waited for.
func TestStatusListens(t *testing.T) {
	for _, beats := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			l := memory.New().Open()
			defer l.Close()
			const ttl = 8 * time.Second
			s, err := l.Register(t.Context(), lock.Contender{ID: "a", Session: "s"}, lock.Promise{TTL: ttl}, lock.Bid{Role: "r"})
			must(t, err)
			_, err = s.TryAcquire(t.Context(), "r")
			must(t, err)
			time.Sleep(ttl/2 + time.Second)
			st, err := standing(t.Context(), l, "r")
			must(t, err)
			if beats {
				time.AfterFunc(time.Second, func() { _ = s.Beat(context.Background()) })
			}
			h := listen(t.Context(), l, []lock.Standing{st})[0]
			if want := map[bool]string{true: "", false: "no beat for 3s, the last one 5s ago"}[beats]; h.silent != want {
				t.Errorf("beats %v: silent %q, want %q", beats, h.silent, want)
			}
			if left := newRole(h).Active.PromiseLeft; beats && left != 8 || !beats && left != 3 {
				t.Errorf("beats %v: %v seconds are left", beats, left)
			}
			var page strings.Builder
			must(t, newReport("memory", backends.Health{}, []heard{h}).show(&page, "table"))
			if want := map[bool]string{true: "  8s of 8s  ", false: "  3s of 8s  "}[beats]; !strings.Contains(page.String(), want) {
				t.Errorf("beats %v: want %q in\n%s", beats, want, &page)
			}
		})
	}
}

// An evicting store shows a term whose session's record is gone, as etcd does in the moment of an eviction.
type evicting struct {
	lock.Locker
	st lock.Standing
}

func (e evicting) Watch(context.Context, ...string) iter.Seq2[lock.Standing, error] {
	return func(yield func(lock.Standing, error) bool) { yield(e.st, nil) }
}

// TestListenToTheEvicted: an active whose session's record goes missing while status listens is silent.
func TestListenToTheEvicted(t *testing.T) {
	st := lock.Standing{Role: "r", Term: lock.Term{Token: 3, Holder: lock.Member{Contender: lock.Contender{ID: "a", Session: "s"}, Promise: lock.Promise{TTL: time.Minute}, Beat: 5, BeatAt: time.Now().Add(-time.Minute)}}}
	gone := st
	gone.Term.Holder.Beat = lock.Absent
	if h := listen(t.Context(), evicting{st: gone}, []lock.Standing{st})[0]; h.silent != recordMissing {
		t.Errorf("silent %q, want %q", h.silent, recordMissing)
	}
}

// TestStatusInAHurry: where the wait for a beat is cut short, an active is silent once its promise is over by its owner's
// clock, and not before.
func TestStatusInAHurry(t *testing.T) {
	const ttl = 30 * time.Second
	for age, silent := range map[time.Duration]string{ttl - 6*time.Second: "", ttl: "no beat for 5s, the last one 30s ago"} {
		synctest.Test(t, func(t *testing.T) {
			l := memory.New().Open()
			defer l.Close()
			s, err := l.Register(t.Context(), lock.Contender{ID: "a", Session: "s"}, lock.Promise{TTL: ttl}, lock.Bid{Role: "r"})
			must(t, err)
			_, err = s.TryAcquire(t.Context(), "r")
			must(t, err)
			time.Sleep(age) // its process has died, and nobody else is there
			st, err := standing(t.Context(), l, "r")
			must(t, err)
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			if h := listen(ctx, l, []lock.Standing{st})[0]; h.silent != silent {
				t.Errorf("after %v: silent %q, want %q", age, h.silent, silent)
			}
		})
	}
}

// TestStatusWatch: a pipe gets a line for every change, until the reader has enough.
func TestStatusWatch(t *testing.T) { onEveryStore(t, testStatusWatch) }

func testStatusWatch(t *testing.T, r *trio) {
	r.startAll()
	first := r.settled()
	cmd := exec.Command(filepath.Join(shipped(t), "understudy"), append([]string{"status", "--watch", "--role", "r"}, r.flags...)...)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	lines := bufio.NewScanner(out)
	line := func(want string) {
		t.Helper()
		for lines.Scan() {
			if strings.Contains(lines.Text(), want) {
				return
			}
		}
		t.Fatalf("no line with %q", want)
	}
	line(fmt.Sprintf(" role=r active=%s token=%d standbys=", first.id, first.token))
	r.expect(0, "r: "+first.id+" -> ", "handoff", "--role", "r")
	second := r.active(first.token)
	line(fmt.Sprintf(" role=r active=%s token=%d standbys=", second.id, second.token))
	r.kill(second.id, syscall.SIGKILL)
	third := r.active(second.token)
	line(fmt.Sprintf(" role=r active=%s token=%d standbys=", third.id, third.token))
	if r.cluster == nil { // the store would be gone with its nodes
		return
	}
	for id := range r.procs {
		if id != third.id {
			r.kill(id, syscall.SIGTERM)
		}
	}
	line(fmt.Sprintf(" role=r active=%s token=%d standbys=", third.id, third.token))
	witness, wrapper := r.witness(third.id), r.procs[third.id].Process.Pid
	r.stopping(witness, func() {
		r.stopping(wrapper, func() { line(fmt.Sprintf(" role=r active=%s, silent token=%d standbys=", third.id, third.token)) })
	})
}

// TestStatusWatchSaysOutage: where the majority of a group of Raft is silent its other node goes on showing what
// it knows, and the watch says that this is the past, once, and that it is over, once.
func TestStatusWatchSaysOutage(t *testing.T) {
	t.Parallel()
	r := newTrio(t, onRaft)
	for _, id := range []string{"b", "c"} {
		r.launch(id, append([]string{"raft-voter", "--id", id, "--ttl", r.ttl.String(), "--raft-dir", filepath.Join(r.dir, id)}, r.flags[2:]...)...)
	}
	r.start("a")
	r.active(0)
	watch := func(flags ...string) (out, errs *lab.Said) {
		out, errs = new(lab.Said), new(lab.Said)
		go execute(t.Context(), slices.Concat([]string{"status", "--watch", "--role", "r"}, flags, r.flags), out, errs)
		r.eventually("it shows the active", func() bool { return out.Has("a") })
		return out, errs
	}
	text, said := watch()
	docs, also := watch("-o", "json")
	r.signal("c", syscall.SIGSTOP)
	r.eventually("one silent server is told", func() bool {
		return said.Has("understudy: warning: the store: 3 members") && said.Has("silent: c; none may fail\n")
	})
	r.signal("c", syscall.SIGCONT)
	r.eventually("its return is told", func() bool { return said.Has("understudy: every server of the store is well again\n") })
	stop := func(sig syscall.Signal) {
		r.signal("b", sig)
		r.signal("c", sig)
	}
	stop(syscall.SIGSTOP)
	const lost = "the store does not answer: no majority: 2 of 3 must work; silent: b, c"
	for _, one := range []*lab.Said{said, also, docs} {
		r.eventually("the outage is told", func() bool { return one.Has(lost) })
	}
	stop(syscall.SIGCONT)
	for _, one := range []*lab.Said{said, also} {
		r.eventually("its end is told", func() bool { return one.Has("understudy: the store answers again\n") })
	}
	for _, got := range []*lab.Said{said, also} { // of one that comes back later than the other, there may be more
		if strings.Count(got.String(), "the store does not answer") != 1 || strings.Count(got.String(), "the store answers again") != 1 {
			t.Errorf("one outage is told as\n%s", got)
		}
		for line := range strings.Lines(got.String()) {
			if !strings.Contains(line, "the store does not answer") && !strings.Contains(line, "the store answers again") &&
				!strings.HasPrefix(line, "understudy: warning: the store: 3 members") && line != "understudy: every server of the store is well again\n" {
				t.Errorf("it says %q", line)
			}
		}
	}
	r.eventually("the last document is of a store that answers", func() bool {
		all := strings.Split(strings.TrimSpace(docs.String()), "\n")
		return !strings.Contains(all[len(all)-1], "unanswered")
	})
	if !text.Has(" role=r active=a ") {
		t.Errorf("lines of text:\n%s", text)
	}
}

// TestStatusWatchSaysOneOutage: servers that hang are one outage, told once and with its cause, and its end once, also
// where the store's client keeps what it has read: that is not an answer.
func TestStatusWatchSaysOneOutage(t *testing.T) { onServers(t, testStatusWatchSaysOneOutage) }

func testStatusWatchSaysOneOutage(t *testing.T, r *trio) {
	r.start("a")
	r.active(0)
	out, said := new(lab.Said), new(lab.Said)
	go execute(t.Context(), slices.Concat([]string{"status", "--watch", "--role", "r"}, r.flags), out, said)
	r.eventually("it shows the active", func() bool { return out.Has(" active=a ") })
	resume, err := r.cluster.Pause()
	must(t, err)
	r.eventually("the outage is told", func() bool { return said.Has("the store does not answer: ") })
	time.Sleep(8 * time.Second) // of an outage that goes on, for several tries of every kind
	if text := said.String(); strings.Count(text, "\n") != 1 {
		t.Errorf("of one outage it says:\n%s", text)
	}
	must(t, resume())
	r.eventually("its end is told", func() bool { return said.Has("understudy: the store answers again\n") })
	if text := said.String(); strings.Count(text, "\n") != 2 || strings.Contains(text, "does not answer: context") {
		t.Errorf("in the end it has said:\n%s", text)
	}
}

// TestStoreInOneSentence: who reads how the store is knows what may still fail.
func TestStoreInOneSentence(t *testing.T) {
	three := []string{"a", "b", "c"}
	for want, h := range map[string]backends.Health{
		"":                                     {},
		"1 member; none may fail":              {Members: three[:1], Leader: "a"},
		"3 members, leader a; 1 more may fail": {Members: three, Leader: "a"},
		"3 members, leader a":                  {Members: three, Leader: "a", Unasked: true},
		"3 members, leader a, silent: c; none may fail":                                                    {Members: three, Leader: "a", Silent: three[2:]},
		"3 members, leader a, failing: c; none may fail":                                                   {Members: three, Leader: "a", Failing: three[2:]},
		"no majority: 2 of 3 must work; silent: b, c":                                                      {Members: three, Leader: "a", Silent: three[1:]},
		"no majority: 2 of 3 must work; silent: b, failing: c":                                             {Members: three, Silent: three[1:2], Failing: three[2:]},
		"whether a majority works is not known here: TLS with b, c fails; the leader is a by its own word": {Members: three, Leader: "a", Silent: three[1:], Barred: three[1:]},
		"no majority: 2 of 3 must work; failing: b, c; b: its disk is full":                                {Members: three, Failing: three[1:], Refuses: "b: its disk is full"},
		"1 member; none may fail; out of space":                                                            {Members: three[:1], Leader: "a", Refuses: "out of space"},
	} {
		if got := h.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// pieces counts the writes of an answer.
type pieces int

func (p *pieces) Write(b []byte) (int, error) { *p++; return len(b), nil }

// TestTablesAreWrittenWhole: part of a table is of no use to who reads it.
func TestTablesAreWrittenWhole(t *testing.T) {
	t.Parallel()
	var status, history pieces
	must(t, newReport("etcd", backends.Health{}, []heard{{Standing: lock.Standing{Role: "r"}}, {Standing: lock.Standing{Role: "s"}}}).show(&status, "text"))
	must(t, showHistory(&history, "text", "r", []lock.Event{{Kind: lock.Began, Token: 1}, {Kind: lock.Ended, Token: 1}}))
	if status != 1 || history != 1 {
		t.Errorf("status is written in %d pieces, history in %d", status, history)
	}
}

// TestCrashOfANeededVoter: a witness makes a crash cheap only where the store goes on without that process.
func TestCrashOfANeededVoter(t *testing.T) {
	t.Parallel()
	member := func(id string) lock.Member {
		return lock.Member{Contender: lock.Contender{ID: id, Witness: true}, Promise: lock.Promise{TTL: 10 * time.Second}}
	}
	st := lock.Standing{Role: "r", Term: lock.Term{Token: 1, Holder: member("a")}, Line: []lock.Member{member("b"), member("z")}}
	three := []string{"a", "b", "c"}
	for want, h := range map[string]backends.Health{
		"a: ms (witness), b: ms (witness), z: ms (witness)":                  {Members: three, Leader: "a"},
		"a: the store's majority, b: the store's majority, z: ms (witness)":  {Members: three, Leader: "a", Silent: three[2:]},
		"a: the store's majority, b: ms (witness), z: ms (witness)":          {Members: three, Leader: "a", Failing: three[1:2]},
		"a:  the store's majority, b: the store's majority, z: ms (witness)": {Members: three[:2], Leader: "a"},
		"a: ms (witness), b:  ms (witness), z: ms (witness)":                 {Members: three, Leader: "a", Unasked: true},
	} {
		var page strings.Builder
		must(t, newReport("raft", h, []heard{{Standing: st, at: time.Now()}}).show(&page, "table"))
		var got []string
		for _, row := range regexp.MustCompile(`(?m)^([abz]) .*(ms \(witness\)|the store's majority)`).FindAllStringSubmatch(page.String(), -1) {
			got = append(got, row[1]+": "+row[2])
		}
		if want = strings.Join(strings.Fields(want), " "); strings.Join(got, ", ") != want {
			t.Errorf("%v, want %s", got, want)
		}
	}
}

// TestTablesAreAligned: each cell stands below the head of its column, also where nobody is active, where an active is
// silent, and where a member of a group is.
func TestTablesAreAligned(t *testing.T) {
	t.Parallel()
	m := lock.Member{Contender: lock.Contender{ID: "a-long-name", Address: "10.0.0.1:80"}, Promise: lock.Promise{TTL: 10 * time.Second}, Beat: 7, BeatAt: time.Now()}
	nobody := lock.Standing{Role: "nobody", Line: []lock.Member{m, m}, Term: lock.Term{Token: 3, Holder: m, Over: lock.CauseStopped}}
	silent := lock.Standing{Role: "silent", Line: []lock.Member{m}, Term: lock.Term{Token: 4, Holder: m}}
	var page, group strings.Builder
	must(t, newReport("etcd", backends.Health{}, []heard{{Standing: nobody, at: time.Now()}, {Standing: silent, at: time.Now(), silent: "its session's record is missing"}}).show(&page, "table"))
	node := &raft.NodeStatus{ID: "b", State: "follower", Term: 3, Last: 12345, Snapshot: 12, SnapshotAt: time.Now()}
	groupReport{GroupStatus: raft.GroupStatus{Members: []raft.MemberStatus{
		{Member: raft.Member{ID: "a", Address: "127.0.0.1:7001", Voter: true}, Node: node},
		{Member: raft.Member{ID: "b", Address: "127.0.0.1:7002", Voter: true}, Silent: "no answer"},
		{Member: raft.Member{ID: "c", Address: "127.0.0.1:7003", Voter: true}, Node: node},
	}}}.write(&group, time.Now())
	aligned(t, "ID ", 4, page.String())
	aligned(t, "MEMBER ", 3, group.String())
}

// aligned expects so many rows below the heads that begin so, with a cell that begins below each column's head.
func aligned(t *testing.T, head string, want int, page string) {
	t.Helper()
	var starts []int
	rows := 0
	for line := range strings.Lines(page) {
		switch line = strings.TrimRight(line, "\n"); {
		case strings.HasPrefix(line, head):
			starts = nil
			for _, at := range regexp.MustCompile(`\S+( \S+)*`).FindAllStringIndex(line, -1) {
				starts = append(starts, at[0])
			}
		case starts != nil && strings.Contains(line, "  "):
			rows++
			for _, at := range starts {
				if at > 0 && at < len(line) && line[at-1] != ' ' || at < len(line) && line[at] == ' ' {
					t.Errorf("column %d of %q:\n%s", at, line, page)
				}
			}
		default:
			starts = nil
		}
	}
	if rows != want {
		t.Errorf("%d rows, want %d:\n%s", rows, want, page)
	}
}
