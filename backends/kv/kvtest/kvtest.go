// Package kvtest proves that a store keeps the rules of package kv.
package kvtest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backends/kv"
)

// Run tests a store that answers, and Lockers on it. open opens another process's way to
// the one store, which Run closes; each case keeps its keys under a prefix of its own. It
// does not test what takes a fault: that a call obeys its context where the store is silent,
// that a Follow notices a store that restarts, and what is permanent. What a Locker must do,
// with faults, package conformance proves.
func Run(t *testing.T, open func() kv.Store) {
	s := open()
	t.Cleanup(func() { must(t, s.Close()) })
	for _, c := range []struct {
		name string
		run  func(*testing.T, func() kv.Store)
	}{
		{"a takeover reads nothing", takesOver},
		{"an eviction by who has read the line reads nothing", evicts},
		{"nothing is changed in another store", otherStore},
		{"the identity is drawn once", drawnOnce},
		{"the proof of an end outlives it", proofOutlivesItsEnd},
		{"a role whose record was deleted by hand is not free while somebody holds it", deletedByHand},
		{"a foreign value is told once", foreignValueIsQuiet},
		{"a request is seen at once", requestIsSeenAtOnce},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, open) })
	}
	for _, c := range []struct {
		name string
		run  func(*testing.T, *bench)
	}{
		{"what is absent fails no read", readsAbsent},
		{"a prefix stands for every key that begins with it", readsPrefix},
		{"a read shows what was committed before it", readsLatest},
		{"all writes are done if all guards hold, else none", guards},
		{"a transaction has as many guards and writes as are allowed", manyOps},
		{"of many that guard the same revision one commits", races},
		{"a key hangs on the lease of its last put", leases},
		{"a lease that is gone writes nothing", goneLease},
		{"a guard that does not hold comes before a lease that is gone", guardBeforeLease},
		{"follow shows what changed since the view", followsSince},
		{"follow shows changes in order for each key, and of no other key", followsInOrder},
		{"follow shows what one commit changed in one step", followsWhole},
		{"follow shows what a lease took with it", followsLease},
		{"follow ends with an error when its context is done", followEnds},
		{"a call whose context is done writes nothing", obeysContext},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			c.run(t, &bench{t: t, ctx: ctx, s: s, prefix: "kvtest/" + rand.Text() + "/"})
		})
	}
}

// A bench is one case's own part of the store.
type bench struct {
	t      *testing.T
	ctx    context.Context
	s      kv.Store
	prefix string
}

func (b *bench) key(name string) string { return b.prefix + name }

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) put(name, value string, l kv.Lease) kv.Write {
	return kv.Write{Key: b.key(name), Value: []byte(value), Lease: l}
}

// commit commits writes without guards and returns their revision.
func (b *bench) commit(writes ...kv.Write) uint64 {
	b.t.Helper()
	r, err := b.s.Commit(b.ctx, kv.Txn{Writes: writes})
	b.must(err)
	if !r.Committed || r.Revision == 0 {
		b.t.Fatalf("not committed: %+v", r)
	}
	return r.Revision
}

func (b *bench) read(keys ...string) kv.View {
	b.t.Helper()
	v, err := b.s.Read(b.ctx, keys...)
	b.must(err)
	return v
}

func (b *bench) grant() kv.Lease {
	b.t.Helper()
	l, err := b.s.Grant(b.ctx, time.Minute)
	b.must(err)
	b.t.Cleanup(func() { _ = b.s.Revoke(context.WithoutCancel(b.ctx), l) }) // it may be gone
	return l
}

// stands checks that the prefix holds these keys and values and no more.
func (b *bench) stands(want map[string]string) kv.View {
	b.t.Helper()
	v := b.read(b.prefix)
	got := map[string]string{}
	for _, r := range v.Records {
		got[r.Key[len(b.prefix):]] = string(r.Value)
	}
	if !reflect.DeepEqual(got, want) {
		b.t.Fatalf("the store holds %v, want %v", got, want)
	}
	return v
}

func readsAbsent(t *testing.T, b *bench) {
	v := b.read(b.key("none"), b.key("none/"), b.prefix)
	if len(v.Records) != 0 || v.Get(b.key("none")).Revision != 0 {
		t.Errorf("%+v", v)
	}
}

func readsPrefix(t *testing.T, b *bench) {
	l := b.grant()
	first := b.commit(b.put("a", "1", ""))
	second := b.commit(b.put("b/c", "2", l), b.put("b/%2F é", "3", ""), b.put("bb", "4", ""))
	if second <= first {
		t.Errorf("revision %d after %d", second, first)
	}
	v := b.read(b.key("b/"), b.key("a"), b.key("none"))
	slices.SortFunc(v.Records, func(a, b kv.Record) int { return strings.Compare(a.Key, b.Key) })
	want := []kv.Record{
		{Key: b.key("a"), Value: []byte("1"), Revision: first},
		{Key: b.key("b/%2F é"), Value: []byte("3"), Revision: second},
		{Key: b.key("b/c"), Value: []byte("2"), Revision: second, Lease: l},
	}
	if !reflect.DeepEqual(v.Records, want) {
		t.Errorf("got  %+v\nwant %+v", v.Records, want)
	}
	if v.Revision < second {
		t.Errorf("as of %d, shows %d", v.Revision, second)
	}
}

func readsLatest(t *testing.T, b *bench) {
	for i := range 50 {
		b.commit(b.put("a", fmt.Sprint(i), ""))
		if got := b.read(b.key("a")).Get(b.key("a")); string(got.Value) != fmt.Sprint(i) {
			t.Fatalf("read %q after %d was committed", got.Value, i)
		}
	}
}

func guards(t *testing.T, b *bench) {
	old := b.commit(b.put("there", "0", ""))
	now := b.commit(b.put("there", "1", ""))
	there, absent := b.key("there"), b.key("absent")
	for _, c := range []struct {
		name  string
		guard kv.Guard
		holds bool
	}{
		{"exists", kv.Guard{Key: there, Exists: true}, true},
		{"exists, and does not", kv.Guard{Key: absent, Exists: true}, false},
		{"at a revision", kv.Guard{Key: there, Revision: now}, true},
		{"at a revision that is past", kv.Guard{Key: there, Revision: old}, false},
		{"at a revision, and is absent", kv.Guard{Key: absent, Revision: now}, false},
		{"absent", kv.Guard{Key: absent}, true},
		{"absent, and is there", kv.Guard{Key: there}, false},
	} {
		r, err := b.s.Commit(b.ctx, kv.Txn{
			Guards: []kv.Guard{{Key: b.key("other")}, c.guard},
			Writes: []kv.Write{b.put("x", c.name, ""), {Key: b.key("none")}},
		})
		b.must(err)
		if r.Committed != c.holds {
			t.Errorf("%s: committed %v", c.name, r.Committed)
		}
		if !c.holds {
			if got := r.Found.Get(there); c.guard.Key == there && string(got.Value) != "1" {
				t.Errorf("%s: found %+v", c.name, r.Found)
			}
			b.stands(map[string]string{"there": "1"})
			continue
		}
		b.stands(map[string]string{"there": "1", "x": c.name})
		r, err = b.s.Commit(b.ctx, kv.Txn{
			Guards: []kv.Guard{{Key: b.key("x"), Exists: true}},
			Writes: []kv.Write{{Key: b.key("x")}, b.put("y", c.name, "")},
		})
		b.must(err)
		b.stands(map[string]string{"there": "1", "y": c.name})
		b.commit(b.put("z", c.name, ""), kv.Write{Key: b.key("y")})
		b.must(b.drop("z"))
	}
}

// drop deletes a key without a put beside it.
func (b *bench) drop(name string) error {
	_, err := b.s.Commit(b.ctx, kv.Txn{Writes: []kv.Write{{Key: b.key(name)}}})
	return err
}

func manyOps(t *testing.T, b *bench) {
	var txn kv.Txn
	for i := range kv.MaxOps / 2 {
		txn.Guards = append(txn.Guards, kv.Guard{Key: b.key(fmt.Sprint(i))})
		txn.Writes = append(txn.Writes, b.put(fmt.Sprint(i), "v", ""))
	}
	for i, committed := range []bool{true, false} {
		r, err := b.s.Commit(b.ctx, txn)
		b.must(err)
		if r.Committed != committed {
			t.Errorf("try %d: committed %v", i, r.Committed)
		}
		if !committed && len(r.Found.Records) != len(txn.Guards) {
			t.Errorf("found %d records, want %d", len(r.Found.Records), len(txn.Guards))
		}
	}
}

func races(t *testing.T, b *bench) {
	last := b.commit(b.put("a", "start", ""))
	for round := range 5 {
		var all sync.WaitGroup
		var mu sync.Mutex
		var won []uint64
		for i := range 8 {
			all.Go(func() {
				r, err := b.s.Commit(b.ctx, kv.Txn{
					Guards: []kv.Guard{{Key: b.key("a"), Revision: last}},
					Writes: []kv.Write{b.put("a", fmt.Sprint(round, i), "")},
				})
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					t.Error(err)
				} else if r.Committed {
					won = append(won, r.Revision)
				}
			})
		}
		all.Wait()
		if len(won) != 1 || won[0] <= last {
			t.Fatalf("after %d these committed: %v", last, won)
		}
		last = won[0]
	}
}

func leases(t *testing.T, b *bench) {
	one, two := b.grant(), b.grant()
	b.must(b.s.Keep(b.ctx, one))
	b.commit(b.put("stays", "1", one), b.put("moves", "1", one), b.put("leaves", "1", one))
	b.commit(b.put("stays", "2", one), b.put("moves", "2", two), b.put("leaves", "2", ""))
	v := b.stands(map[string]string{"stays": "2", "moves": "2", "leaves": "2"})
	for name, want := range map[string]kv.Lease{"stays": one, "moves": two, "leaves": ""} {
		if got := v.Get(b.key(name)).Lease; got != want {
			t.Errorf("%s hangs on %q, want %q", name, got, want)
		}
	}
	b.must(b.s.Revoke(b.ctx, one))
	b.stands(map[string]string{"moves": "2", "leaves": "2"})
	if err := b.s.Keep(b.ctx, one); !errors.Is(err, kv.ErrNoLease) {
		t.Errorf("keep a lease that was revoked: %v", err)
	}
	b.must(b.s.Revoke(b.ctx, two))
	b.stands(map[string]string{"leaves": "2"})
}

func goneLease(t *testing.T, b *bench) {
	l := b.grant()
	b.must(b.s.Revoke(b.ctx, l))
	r, err := b.s.Commit(b.ctx, kv.Txn{Writes: []kv.Write{b.put("a", "1", ""), b.put("b", "1", l)}})
	if r.Committed || !errors.Is(err, kv.ErrNoLease) {
		t.Errorf("%+v, %v", r, err)
	}
	b.stands(map[string]string{})
}

func guardBeforeLease(t *testing.T, b *bench) {
	l := b.grant()
	b.must(b.s.Revoke(b.ctx, l))
	r, err := b.s.Commit(b.ctx, kv.Txn{
		Guards: []kv.Guard{{Key: b.key("a"), Exists: true}}, Writes: []kv.Write{b.put("a", "1", l)},
	})
	b.must(err)
	if r.Committed {
		t.Error("committed")
	}
}

func obeysContext(t *testing.T, b *bench) {
	ctx, cancel := context.WithCancel(b.ctx)
	cancel()
	l := b.grant()
	_, readErr := b.s.Read(ctx, b.prefix)
	_, commitErr := b.s.Commit(ctx, kv.Txn{Writes: []kv.Write{b.put("a", "1", "")}})
	_, grantErr := b.s.Grant(ctx, time.Minute)
	for i, err := range []error{readErr, commitErr, grantErr, b.s.Keep(ctx, l), b.s.Revoke(ctx, l)} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("call %d: %v", i, err)
		}
	}
	b.stands(map[string]string{})
	b.must(b.s.Keep(b.ctx, l))
}
