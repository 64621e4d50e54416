package object

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-ha/understudy/backends/ledger"
	"github.com/understudy-ha/understudy/lock"
)

// A single object is reached by one process, which may count what it asks.
type single struct {
	Object
	value Value
	err   error         // of Get
	slow  time.Duration // of Put
	gets  int
	puts  int
	tells []Value // by Changed; then nothing
}

func (o *single) Get(context.Context) (Value, error) {
	o.gets++
	return o.value, o.err
}

func (o *single) Put(ctx context.Context, data []byte, version string) (Value, error) {
	select {
	case <-time.After(o.slow):
	case <-ctx.Done():
		return Value{}, context.Cause(ctx)
	}
	if version != o.value.Version {
		return o.value, ErrConflict
	}
	o.puts++
	o.value = Value{Data: data, Version: fmt.Sprint(o.puts)}
	return Value{Version: o.value.Version}, nil
}

func (o *single) Changed(ctx context.Context, _ string) (v Value, err error) {
	if len(o.tells) == 0 {
		<-ctx.Done()
		return v, ctx.Err()
	}
	v, o.tells = o.tells[0], o.tells[1:]
	return v, nil
}

func (o *single) Start(context.Context) (uint64, error) { return 1, nil }

// stands is a value with a ledger, written last by somebody.
func stands(t *testing.T, version string, l *ledger.Ledger, by ...write) Value {
	t.Helper()
	data, err := json.Marshal(record{Store: ours, Format: Format, Writes: by, Ledger: l})
	if err != nil {
		t.Fatal(err)
	}
	return Value{Data: data, Version: version}
}

// TestSettling: what became of a Put that may have arrived, by what is there.
func TestSettling(t *testing.T) {
	var many []write
	for i := range writes {
		many = append(many, write{fmt.Sprint(i), uint64(20 + i)})
	}
	mine := write{"mine", 6}
	base := stands(t, "v5", at("x", 5))
	for what, c := range map[string]struct {
		there Value
		sent  bool
		want  string
	}{
		"it has not arrived":       {base, true, "as it was"},
		"a copy without a value":   {Value{}, true, "as it was"},
		"an older copy":            {stands(t, "v4", at("x", 4)), true, "as it was"},
		"it has arrived":           {stands(t, "v6", at("x", 6), mine), true, "done"},
		"others came after it":     {stands(t, "v7", at("x", 7), mine, write{"other", 7}), true, "done"},
		"others came before":       {stands(t, "v6", at("x", 6), write{"other", 6}), true, "anew"},
		"edited":                   {stands(t, "v5b", at("x", 5)), true, "anew"},
		"another ledger":           {stands(t, "y2", at("y", 2)), true, "anew"},
		"too many others":          {stands(t, "v60", at("x", 60), many...), true, "unknown"},
		"it was refused, and many": {stands(t, "v60", at("x", 60), many...), false, "anew"},
		"it was refused":           {stands(t, "v6", at("x", 6), write{"other", 6}), false, "anew"},
	} {
		s := quiet()
		s.object = &single{value: c.there}
		s.seen = sight{value: base, ledger: at("x", 5), top: ledger.Mark{Identity: "x", Revision: 5}}
		one := &call{done: make(chan struct{})}
		d := &draft{base: base, since: 5, id: "mine", sent: c.sent, data: []byte("x"), calls: []*call{one}, results: make([]ledger.Result, 1), next: record{Ledger: at("x", 6)}}
		why := io.EOF
		if !c.sent {
			why = ErrConflict
		}
		got := "as it was"
		switch again := s.settle(t.Context(), d, Value{}, s.sight(), why); {
		case !again && one.err != nil:
			got = "unknown"
		case !again:
			got = "done"
		case d.data == nil && !d.sent:
			got = "anew"
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", what, got, c.want)
		}
	}
}

// TestOneWriteIsOneRequest, of a process that knows what is there, and is not proof that anything
// was put back.
func TestOneWriteIsOneRequest(t *testing.T) {
	o := &single{}
	s := quiet()
	s.object, s.ctx = o, t.Context()
	for i := range 3 {
		c := ledger.Command{Op: ledger.Raise, Token: lock.Token(i), Name: "x"}
		if r, err := s.Propose(t.Context(), c); err != nil || r.Err() != nil || r.Epoch != 0 {
			t.Fatalf("%+v, %v", r, err)
		}
	}
	if o.gets != 1 || o.puts != 3 || s.sight().epoch != 0 {
		t.Errorf("%d readings and %d writes, in epoch %d, want 1 and 3 in 0", o.gets, o.puts, s.sight().epoch)
	}
}

// TestWhoGivesUpEndsNoOthersCall, where both are in one write.
func TestWhoGivesUpEndsNoOthersCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &single{slow: 40 * time.Millisecond}
		s := quiet()
		s.object, s.ctx = o, t.Context()
		errs := make(chan error, 3)
		propose := func(ctx context.Context) {
			go func() {
				_, err := s.Propose(ctx, ledger.Command{Op: ledger.Raise, Name: "x"})
				errs <- err
			}()
			synctest.Wait()
		}
		short, cancel := context.WithTimeout(t.Context(), 60*time.Millisecond)
		defer cancel()
		propose(t.Context()) // the others wait for this write
		propose(short)
		propose(t.Context())
		gaveUp := 0
		for range 3 {
			if err := <-errs; errors.Is(err, context.DeadlineExceeded) {
				gaveUp++
			} else if err != nil {
				t.Error(err)
			}
		}
		if gaveUp != 1 || o.puts != 2 {
			t.Errorf("%d gave up, and %d writes, want 1 and 2", gaveUp, o.puts)
		}
		synctest.Wait()
	})
}

// TestForeignNewsAreSaid at once, and not when the object is read next.
func TestForeignNewsAreSaid(t *testing.T) {
	s := quiet()
	s.ctx = t.Context()
	s.object = &single{tells: []Value{{Data: []byte("x"), Version: "9"}}}
	if told, err := s.waitChanged(time.Minute); !told || !errors.Is(err, ErrForeign) {
		t.Errorf("%v, %v", told, err)
	}
}
