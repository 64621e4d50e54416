package kvtest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backends/kv"
)

func followsSince(t *testing.T, b *bench) {
	b.commit(b.put("p/same", "1", ""), b.put("p/deleted", "1", ""), b.put("p/changed", "1", ""), b.put("one", "1", ""), b.put("two", "1", ""))
	v := b.read(b.prefix)
	b.commit(b.put("p/changed", "2", ""), b.put("p/new", "1", ""), kv.Write{Key: b.key("p/deleted")}, kv.Write{Key: b.key("one")})
	f := b.follow(v, b.key("p/"), b.key("one"), b.key("two"), b.key("three"))
	f.until(map[string]string{"p/same": "1", "p/changed": "2", "p/new": "1", "two": "1"})
	b.commit(b.put("two", "2", ""), b.put("three", "1", ""), b.put("one", "2", ""), kv.Write{Key: b.key("p/new")})
	f.until(map[string]string{"p/same": "1", "p/changed": "2", "one": "2", "two": "2", "three": "1"})
}

func followsInOrder(t *testing.T, b *bench) {
	f := b.follow(b.read(b.prefix), b.key("p/"), b.key("one"))
	const changes = 30
	for i := range changes {
		b.commit(b.put("p/a", fmt.Sprint(i), ""), b.put("one", fmt.Sprint(i), ""), b.put("q", fmt.Sprint(i), ""), b.put("one/more", fmt.Sprint(i), ""))
	}
	last := fmt.Sprint(changes - 1)
	f.until(map[string]string{"p/a": last, "one": last})
	latest := map[string]uint64{}
	for _, r := range f.seen {
		if r.Revision <= latest[r.Key] {
			t.Errorf("%s: revision %d after %d", r.Key, r.Revision, latest[r.Key])
		}
		latest[r.Key] = r.Revision
	}
}

// followsWhole expects what one commit changed in one step.
func followsWhole(t *testing.T, b *bench) {
	f := b.follow(b.read(b.prefix), b.key("p/"))
	f.check = func() {
		if f.state["p/a"] != f.state["p/b"] || f.state["p/a"] != f.state["p/z/c"] {
			t.Errorf("a step showed a part of a commit: %v", f.state)
		}
	}
	for i := range 10 {
		value := fmt.Sprint(i)
		b.commit(b.put("p/b", value, ""), b.put("p/z/c", value, ""), b.put("p/a", value, ""))
		f.until(map[string]string{"p/a": value, "p/b": value, "p/z/c": value})
	}
}

func followsLease(t *testing.T, b *bench) {
	l := b.grant()
	b.commit(b.put("p/a", "1", l), b.put("one", "1", l), b.put("two", "1", ""))
	f := b.follow(b.read(b.prefix), b.key("p/"), b.key("one"), b.key("two"))
	b.must(b.s.Revoke(b.ctx, l))
	f.until(map[string]string{"two": "1"})
}

func followEnds(t *testing.T, b *bench) {
	for _, after := range []bool{false, true} {
		ctx, cancel := context.WithCancel(b.ctx)
		if !after {
			cancel()
		}
		v := b.read(b.prefix)
		if after {
			time.AfterFunc(50*time.Millisecond, cancel)
		}
		var last error
		for _, err := range b.s.Follow(ctx, v, b.key("a"), b.prefix) {
			last = err
		}
		if !errors.Is(last, context.Canceled) {
			t.Errorf("it ended with %v", last)
		}
		cancel()
	}
}

// A following is one Follow, and what the keys came to by it.
type following struct {
	b     *bench
	steps chan []kv.Record
	ended chan error
	state map[string]string
	seen  []kv.Record
	check func() // after each step; nil: nothing
}

// follow follows keys since a view of all that the case has.
func (b *bench) follow(v kv.View, keys ...string) *following {
	f := &following{b: b, steps: make(chan []kv.Record), ended: make(chan error, 1), state: map[string]string{}}
	for _, r := range v.Records {
		if slices.ContainsFunc(keys, func(k string) bool { return k == r.Key || strings.HasSuffix(k, "/") && strings.HasPrefix(r.Key, k) }) {
			f.state[r.Key[len(b.prefix):]] = string(r.Value)
		}
	}
	ctx, cancel := context.WithCancel(b.ctx)
	done := make(chan struct{})
	b.t.Cleanup(func() { cancel(); <-done })
	go func() {
		defer close(done)
		for changes, err := range b.s.Follow(ctx, v, keys...) {
			if err != nil {
				f.ended <- err
				return
			}
			select {
			case f.steps <- changes:
			case <-ctx.Done():
			}
		}
	}()
	return f
}

// until takes changes in until the keys that are followed stand as wanted.
func (f *following) until(want map[string]string) {
	f.b.t.Helper()
	for !reflect.DeepEqual(f.state, want) {
		select {
		case changes := <-f.steps:
			for _, r := range changes {
				f.seen = append(f.seen, r)
				if name := r.Key[len(f.b.prefix):]; r.Revision == 0 {
					delete(f.state, name)
				} else {
					f.state[name] = string(r.Value)
				}
			}
			if f.check != nil {
				f.check()
			}
		case err := <-f.ended:
			f.b.t.Fatalf("follow ended: %v", err)
		case <-f.b.ctx.Done():
			f.b.t.Fatalf("the keys came to %v, want %v", f.state, want)
		}
	}
}
