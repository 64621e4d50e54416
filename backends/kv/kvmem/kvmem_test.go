package kvmem_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-ha/understudy/backends/kv"
	"github.com/understudy-ha/understudy/backends/kv/kvmem"
	"github.com/understudy-ha/understudy/backends/kv/kvtest"
)

// TestRules proves the store as any other is proved.
func TestRules(t *testing.T) {
	s := kvmem.New()
	kvtest.Run(t, func() kv.Store { return s.Open() })
}

func put(key, value string, l kv.Lease) kv.Txn {
	return kv.Txn{Writes: []kv.Write{{Key: key, Value: []byte(value), Lease: l}}}
}

// TestFaults fails, delays, and loses the reply of single calls.
func TestFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, lost := kvmem.New().Open(), errors.New("lost")
		stands := func(want string) {
			t.Helper()
			c.On(nil)
			if v, err := c.Read(t.Context(), "a"); string(v.Get("a").Value) != want || err != nil {
				t.Errorf("a is %q, %v, want %q", v.Get("a").Value, err, want)
			}
		}
		nth := func(n int, f kvmem.Fault) {
			c.On(func(one kvmem.Call) kvmem.Fault {
				if one.Number == n && one.Name == "Commit" {
					return f
				}
				return kvmem.Fault{}
			})
		}
		nth(1, kvmem.Fail(lost))
		if _, err := c.Commit(t.Context(), put("a", "1", "")); !errors.Is(err, lost) {
			t.Errorf("a request that is lost: %v", err)
		}
		stands("")
		nth(3, kvmem.Lose(lost))
		if r, err := c.Commit(t.Context(), put("a", "2", "")); !errors.Is(err, lost) || r.Committed {
			t.Errorf("a reply that is lost: %+v, %v", r, err)
		}
		stands("2")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		nth(5, kvmem.Delay(time.Minute, 0))
		if _, err := c.Commit(ctx, put("a", "3", "")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a request that is late: %v", err)
		}
		stands("2")
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if _, err := c.Read(t.Context(), "a"); !errors.Is(err, kvmem.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	})
}

// TestLeaseEnds takes what hangs on it along, once nobody keeps it.
func TestLeaseEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := kvmem.New().Open()
		l, err := c.Grant(t.Context(), time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Commit(t.Context(), put("a", "1", l)); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			time.Sleep(50 * time.Second)
			if err := c.Keep(t.Context(), l); err != nil {
				t.Fatal(err)
			}
		}
		v, _ := c.Read(t.Context(), "a")
		begun := time.Now()
		for changes, err := range c.Follow(t.Context(), v, "a") {
			if err != nil || len(changes) != 1 || changes[0].Revision != 0 || changes[0].Gone == 0 {
				t.Errorf("%+v, %v", changes, err)
			}
			break
		}
		if took := time.Since(begun); took != time.Minute {
			t.Errorf("it ended after %v", took)
		}
		if err := c.Keep(t.Context(), l); !errors.Is(err, kv.ErrNoLease) {
			t.Errorf("keep: %v", err)
		}
	})
}

// TestFollowEnds whenever it might miss something.
func TestFollowEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := kvmem.New()
		c := s.Open()
		broken := errors.New("broken")
		_, _ = c.Commit(t.Context(), put("a", "1", ""))
		restore := s.Save()
		old, _ := c.Read(t.Context(), "a")
		_, _ = c.Commit(t.Context(), put("a", "2", ""))
		for name, end := range map[string]func(){
			"it is broken":          func() { c.Break(broken) },
			"the store is put back": restore,
		} {
			v, _ := c.Read(t.Context(), "a")
			time.AfterFunc(time.Second, end)
			for _, err := range c.Follow(t.Context(), v, "a") {
				if err == nil {
					t.Errorf("%s: it yields a change", name)
				}
			}
		}
		_, _ = c.Commit(t.Context(), put("a", "3", ""))
		s.Forget()
		for _, err := range c.Follow(t.Context(), old, "a") {
			if err == nil {
				t.Error("it goes on from a history that is gone")
			}
		}
		v, _ := c.Read(t.Context(), "a")
		time.AfterFunc(time.Second, func() { _ = c.Close() })
		for _, err := range c.Follow(t.Context(), v, "a") {
			if !errors.Is(err, kvmem.ErrClosed) {
				t.Errorf("closed: %v", err)
			}
		}
	})
}
