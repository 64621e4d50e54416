package object

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-ha/understudy/backends/ledger"
	"github.com/understudy-ha/understudy/lock"
)

func at(identity string, revision uint64) *ledger.Ledger {
	l := ledger.New()
	l.Identity, l.Revision = identity, revision
	return l
}

// quiet is a store that reads nothing by itself.
func quiet() *store { return &store{limit: 1 << 20, changed: make(chan struct{})} }

// TestTaking: what is later is known from then on, what is older is not, unless a write on it
// succeeded; what was put back, edited, is gone or comes back has a later epoch.
func TestTaking(t *testing.T) {
	five := sight{value: Value{Version: "v5"}, ledger: at("x", 5), epoch: 2, top: ledger.Mark{Identity: "x", Revision: 5}}
	gone := five
	gone.value, gone.ledger = Value{}, absent()
	never := sight{ledger: absent()}
	earlier := func(revision uint64) sight { return sight{top: ledger.Mark{Identity: "x", Revision: revision}} }
	for what, c := range map[string]struct {
		seen    sight
		version string
		ledger  *ledger.Ledger
		before  sight
		from    source
		back    bool
		want    string // the version, the epoch and the latest revision that are known then
	}{
		"later":                     {five, "v6", at("x", 6), five, read, false, "v6 2 x6"},
		"later, and long asked":     {five, "v6", at("x", 6), earlier(4), read, false, "v6 2 x6"},
		"older":                     {five, "v4", at("x", 4), five, read, true, "v5 2 x5"},
		"overtaken":                 {five, "v4", at("x", 4), earlier(4), read, false, "v5 2 x5"},
		"put back":                  {five, "v4", at("x", 4), five, proven, false, "v4 3 x4"},
		"edited":                    {five, "v5b", at("x", 5), five, read, false, "v5b 3 x5"},
		"the same":                  {five, "v5", at("x", 5), five, read, false, "v5 2 x5"},
		"another":                   {five, "y2", at("y", 2), five, read, false, "y2 2 y2"},
		"another, of one revision":  {five, "y5", at("y", 5), five, read, false, "y5 2 y5"},
		"another, proven":           {five, "y2", at("y", 2), five, proven, false, "y2 2 y2"},
		"gone":                      {five, "", absent(), five, read, false, " 3 x5"},
		"gone, and written since":   {five, "", absent(), earlier(4), read, false, "v5 2 x5"},
		"gone still":                {gone, "", absent(), gone, read, false, " 2 x5"},
		"back":                      {gone, "v6", at("x", 6), gone, read, false, "v6 3 x6"},
		"never there":               {sight{}, "", absent(), sight{}, read, false, " 0 0"},
		"there for the first time":  {never, "v7", at("x", 7), never, written, false, "v7 0 x7"},
		"not there yet":             {never, "", absent(), never, read, false, " 0 0"},
		"the first that is seen":    {sight{}, "v7", at("x", 7), sight{}, read, false, "v7 0 x7"},
		"a first, older than begun": {sight{}, "v1", at("x", 1), earlier(4), read, false, "v1 0 x1"},
	} {
		s := quiet()
		s.seen = c.seen
		back, epoch := s.take(Value{Version: c.version}, c.ledger, c.before, c.from)
		now := s.seen
		if got := fmt.Sprint(now.value.Version, " ", now.epoch, " ", now.top.Identity, now.top.Revision); got != c.want || back != c.back || epoch != now.epoch || now.ledger == nil {
			t.Errorf("%s: known are %q, back %v, epoch %d, want %q, %v", what, got, back, epoch, c.want, c.back)
		}
	}
}

// TestLookTellsNewFailures, those since it began, if no read has succeeded after them.
func TestLookTellsNewFailures(t *testing.T) {
	recovered := []error{io.EOF, nil}
	for _, c := range []struct{ before, meanwhile []error }{{nil, nil}, {nil, recovered}, {[]error{io.EOF}, nil}, {[]error{io.EOF}, recovered}} {
		synctest.Test(t, func(t *testing.T) {
			s := quiet()
			s.ctx = t.Context()
			s.follow.Do(func() {}) // nothing is read
			tell := func(errs ...error) {
				s.mu.Lock()
				for _, err := range errs {
					s.news(err)
				}
				s.mu.Unlock()
				synctest.Wait()
			}
			tell(c.before...)
			var answer error
			answered := false
			go func() {
				_, answer = s.Look(t.Context(), ledger.Mark{})
				answered = true
			}()
			synctest.Wait()
			if tell(c.meanwhile...); answered {
				t.Errorf("after %v it tells %v, which is over", c.before, answer)
			}
			if tell(io.ErrUnexpectedEOF); !errors.Is(answer, io.ErrUnexpectedEOF) {
				t.Errorf("after %v and %v it tells %v", c.before, c.meanwhile, answer)
			}
		})
	}
}

// TestLookDuringAnOutage: while reads fail, nothing is shown that was seen before, as if the store had answered; the
// next read that succeeds is shown, also where it found what was known.
func TestLookDuringAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := quiet()
		s.ctx = t.Context()
		s.follow.Do(func() {}) // nothing is read
		tell := func(err error) {
			if err == nil {
				s.take(Value{Version: "v7"}, at("x", 7), s.sight(), read)
				return
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			s.news(err)
		}
		for _, c := range []struct {
			before, meanwhile []error
			want              error
		}{{[]error{nil}, nil, nil}, {[]error{io.EOF}, []error{nil}, nil}, {[]error{io.EOF}, []error{io.ErrUnexpectedEOF}, io.ErrUnexpectedEOF}} {
			tell(nil)
			for _, err := range c.before {
				tell(err)
			}
			var answer error
			answered := false
			go func() {
				_, answer = s.Look(t.Context(), ledger.Mark{Identity: "x", Revision: 6})
				answered = true
			}()
			synctest.Wait()
			if answered != (len(c.meanwhile) == 0) {
				t.Errorf("after %v it has answered %v, with %v", c.before, answered, answer)
			}
			for _, err := range c.meanwhile {
				tell(err)
			}
			synctest.Wait()
			if !answered || !errors.Is(answer, c.want) {
				t.Errorf("after %v and %v it answers %v with %v, want %v", c.before, c.meanwhile, answered, answer, c.want)
			}
		}
	})
}

// TestWrites: the object names the last ones, and since which revision it names all.
func TestWrites(t *testing.T) {
	full, few := record{}, record{Writes: []write{{ID: "w", Revision: 10}}}
	for i := range writes {
		full.Writes = append(full.Writes, write{fmt.Sprint(i), uint64(10 + i)})
	}
	for _, c := range []struct {
		record
		id         string
		since      uint64
		did, known bool
	}{
		{full, "3", 0, true, true}, {full, "other", 10, false, true}, {full, "other", 9, false, false}, {few, "other", 0, false, true}, {record{}, "other", 0, false, true},
	} {
		if did, known := c.wrote(c.id, c.since); did != c.did || known != c.known {
			t.Errorf("of %d writes, since %d: %v, %v, want %v, %v", len(c.Writes), c.since, did, known, c.did, c.known)
		}
	}
}

// TestSizes: what leaves more in the object than it found has seven eighths of the room.
func TestSizes(t *testing.T) {
	for op, most := range map[ledger.Op]int{ledger.Beat: 800, ledger.Register: 700} {
		calls := []*call{{command: ledger.Command{Op: ledger.Nothing}}, {command: ledger.Command{Op: op}}}
		if err := fits(most, 800, calls); err != nil {
			t.Errorf("%s, %d bytes: %v", op, most, err)
		}
		if err := fits(most+1, 800, calls); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s, %d bytes: %v", op, most+1, err)
		}
	}
}

// TestForeignObjects are told from those of newer programs.
func TestForeignObjects(t *testing.T) {
	for text, want := range map[string]error{
		`{"Store":"understudy","Format":1}`: nil, `{`: ErrForeign, `{}`: ErrForeign, `[]`: ErrForeign,
		`{"Store":"another","Format":1}`: ErrForeign, `{"Store":"understudy","Format":0}`: ErrForeign, `{"Store":"understudy","Format":"1"}`: ErrForeign,
		`{"Store":"understudy","Format":2}`: ErrNewer, `{"Store":"understudy","Format":1,"Ledger":null}`: ErrForeign, `{"Store":"understudy","Format":1,"Ledger":7}`: ErrForeign,
	} {
		if r, err := decode([]byte(text)); !errors.Is(err, want) || (err == nil) != (r.Ledger != nil) || err != nil && !errors.Is(err, lock.ErrPermanent) {
			t.Errorf("%s: %v, want %v", text, err, want)
		}
	}
}

// TestTrips are of writes that were answered.
func TestTrips(t *testing.T) {
	for err, want := range map[error]time.Duration{nil: 7, ErrConflict: 7, io.EOF: 5} {
		s := &store{trip: 5}
		if s.took(7, err); s.trip != want {
			t.Errorf("after %v a trip takes %d, want %d", err, s.trip, want)
		}
	}
}

// TestNames: only a client that has seen no ledger gives it a name.
func TestNames(t *testing.T) {
	for _, c := range []struct {
		name, identity string
		want           bool
	}{{"n", "", true}, {"", "", false}, {"n", "i", false}, {"", "i", false}} {
		if names([]*call{{}, {command: ledger.Command{Name: c.name, Identity: c.identity}}}) != c.want {
			t.Errorf("%+v", c)
		}
	}
}

// TestPace is a quarter of the shortest ttl, or so that the first contender is seen.
func TestPace(t *testing.T) {
	of := func(ttls ...time.Duration) sight {
		l := ledger.New()
		for i, ttl := range ttls {
			r := l.Apply(l.Revision+1, ledger.Command{Op: ledger.Register, Contender: lock.Contender{ID: fmt.Sprint(i), Session: lock.SessionID(fmt.Sprint(i))}, Promise: lock.Promise{TTL: ttl}})
			if r.Err() != nil {
				t.Fatal(r.Err())
			}
		}
		return sight{ledger: l}
	}
	for want, now := range map[time.Duration]sight{
		longest: {}, idle: of(), 2 * time.Second: of(time.Minute, 8*time.Second), readPause: of(time.Millisecond),
	} {
		if got := (&store{seen: now}).pace(); got != want {
			t.Errorf("pace %v, want %v", got, want)
		}
	}
}

// TestNothingIsWrittenAfterClose: calls that come late are answered.
func TestNothingIsWrittenAfterClose(t *testing.T) {
	s := quiet()
	ctx, cancel := context.WithCancel(t.Context())
	s.ctx, s.waiting = ctx, []*call{{}}
	cancel()
	if s.next(); s.busy || len(s.waiting) != 1 {
		t.Error("a write has begun")
	}
	if _, err := (&store{ctx: ctx, changed: s.changed}).Propose(t.Context(), ledger.Command{}); !errors.Is(err, errClosed) || !strings.Contains(err.Error(), "closed") {
		t.Error(err)
	}
}

// TestSaidOnce: where a look fails as the write before it did, an operator reads that once.
func TestSaidOnce(t *testing.T) {
	refused, lost := errors.New("connection refused"), errors.New("connection reset")
	for want, got := range map[string]error{
		"connection refused":                         both(refused, fmt.Errorf("%w", refused)),
		"connection refused, after connection reset": both(refused, lost),
	} {
		if got.Error() != want || !errors.Is(got, refused) {
			t.Errorf("it says %q, want %q", got, want)
		}
	}
}
