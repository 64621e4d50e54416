package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// A valueFollower is a Follow that runs, and what it yielded.
type valueFollower struct {
	t   *trial
	key string

	mu     sync.Mutex
	last   []byte
	shown  bool
	failed int
	news   chan struct{} // closed and replaced with everything that is yielded
	ended  chan struct{}
	cancel context.CancelFunc
}

func (t *trial) followValue(l *Client, key string) *valueFollower {
	ctx, cancel := context.WithCancel(t.ctx)
	f := &valueFollower{t: t, key: key, news: make(chan struct{}), ended: make(chan struct{}), cancel: cancel}
	v := t.values(l)
	go func() {
		defer close(f.ended)
		for value, err := range v.Follow(ctx, key) {
			f.take(value, err)
			if err != nil {
				t.pause(t.Slack / 100)
			}
		}
	}()
	t.after(f.end)
	return f
}

func (f *valueFollower) take(value []byte, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		f.failed++
	}
	f.last, f.shown = value, err == nil
	close(f.news)
	f.news = make(chan struct{})
}

// until waits until the Follow has yielded a value.
func (f *valueFollower) until(want []byte) {
	f.t.until(fmt.Sprintf("%q as the value that a Follow yields", want), func() (bool, <-chan struct{}) {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.shown && (f.last == nil) == (want == nil) && bytes.Equal(f.last, want), f.news
	}, func() string {
		f.mu.Lock()
		defer f.mu.Unlock()
		return fmt.Sprintf("the last is %q, shown %v, %d errors", f.last, f.shown, f.failed)
	})
}

func (f *valueFollower) end() { f.cancel(); <-f.ended }

func valuesFollow(t *trial) {
	role, key := t.named("r"), t.named("a/k")
	near, _, token := t.holder(role, "a")
	far := t.open()
	followers := []*valueFollower{t.followValue(near, key), t.followValue(far, key)}
	see := func(want []byte) {
		for _, f := range followers {
			f.until(want)
		}
	}
	see(nil)
	for i := range 3 {
		value := []byte(fmt.Sprint(i))
		t.writes(near, role, token, values{key: value, key + "2": value}, nil, nil)
		see(value)
		t.writes(near, role, token, values{key: value}, values{key: value}, nil) // the same once more
	}
	t.writes(far, role, token, values{key: {}}, nil, nil)
	see([]byte{})
	t.writes(far, role, token, values{key: nil}, nil, nil)
	see(nil)
	for i := range 20 { // faster than anybody looks
		t.writes(near, role, token, values{key: []byte(fmt.Sprint("fast ", i))}, nil, nil)
	}
	see([]byte("fast 19"))
	for _, f := range followers {
		f.end()
	}
}

func valuesFollowBroken(t *trial) {
	role, key := t.named("r"), t.named("k")
	near, _, token := t.holder(role, "a")
	far := t.open()
	f := t.followValue(far, key)
	f.until(nil)
	for i := range 2 {
		value := []byte(fmt.Sprint(i))
		t.network("refuse", far.Refuse)
		t.writes(near, role, token, values{key: value}, nil, nil)
		t.network("heal", far.Heal)
		f.until(value)
	}
}

// valuesLate lets a write arrive after the next term has begun, and after a value has changed.
func valuesLate(t *trial) {
	for _, split := range []bool{false, true} {
		role, key := t.named(fmt.Sprint("r ", split)), t.named(fmt.Sprint("k ", split))
		near, a, token := t.holder(role, fmt.Sprint("a ", split))
		far := t.open()
		b := t.join(far, fmt.Sprint("b ", split), role)
		t.writes(near, role, token, values{key: []byte("before")}, nil, nil)
		late := func(when values) func(ctx context.Context) error {
			return func(ctx context.Context) error {
				_, err := t.values(near).Write(ctx, role, token, values{key: []byte("late")}, when)
				return err
			}
		}
		var between values
		err := t.delayed(near, split, late(values{key: []byte("before")}), func() {
			t.must("read", func(ctx context.Context) (err error) { between, err = t.values(far).Read(ctx, key); return err })
			t.writes(far, role, token, values{key: []byte("changed")}, nil, nil)
		})
		t.lateOutcome(err, lock.ErrDiffers, string(between[key]) == "late")
		t.beat(a) // by then the calls in flight have arrived
		t.valued(far, values{key: []byte("changed")}, key)
		var next lock.Token
		err = t.delayed(near, split, late(nil), func() {
			t.must("read", func(ctx context.Context) (err error) { between, err = t.values(far).Read(ctx, key); return err })
			t.must("hand off", func(ctx context.Context) error { return t.handOff(far, role, a, token, b) })
			next = t.acquire(b, role)
			t.writes(far, role, next, values{key: []byte("the next term's")}, nil, nil)
		})
		t.lateOutcome(err, lock.ErrMoved, string(between[key]) == "late")
		t.beat(b)
		t.valued(far, values{key: []byte("the next term's")}, key)
	}
}

// handOff has a's term end by an eviction: its own network is spoiled.
func (t *trial) handOff(far *Client, role string, a lock.Session, token lock.Token, b lock.Session) error {
	t.evict(far, role, a.ID())
	if next := t.acquire(b, role); next <= token {
		t.errorf("token %d after %d", next, token)
	}
	return nil
}

// lateOutcome judges a write that was held back: it may have been one request, which arrived
// before.
func (t *trial) lateOutcome(err, want error, arrived bool) {
	if isKnown(err) && !errors.Is(err, want) && (err != nil || !arrived) {
		t.errorf("a write that arrives too late: %v, want %v", err, want)
	}
}

// valuesReplyLost writes on a condition that its own write makes false: so the two outcomes differ.
func valuesReplyLost(t *trial) {
	role, key := t.named("r"), t.named("k")
	near, _, token := t.holder(role, "a")
	far := t.open()
	t.writes(near, role, token, values{key: []byte("before")}, nil, nil)
	t.network("cut replies", near.CutReplies)
	ctx, cancel := context.WithTimeout(t.ctx, t.passing()+t.TTL/4)
	_, err := t.values(near).Write(ctx, role, token, values{key: []byte("after")}, values{key: []byte("before")})
	cancel()
	if err == nil || errors.Is(err, lock.ErrMoved) || errors.Is(err, lock.ErrPermanent) {
		t.errorf("a write whose reply is lost: %v, want an unknown outcome", err)
	}
	t.network("heal", near.Heal)
	_, err = t.write(near, role, token, values{key: []byte("after")}, values{key: []byte("before")})
	if err != nil && !errors.Is(err, lock.ErrDiffers) {
		t.errorf("the same write once more: %v", err)
	}
	t.valued(far, values{key: []byte("after")}, key)
}

func valuesRestart(t *trial) {
	role, key := t.named("r"), t.named("k")
	near, s, token := t.holder(role, "a")
	t.writes(near, role, token, values{key: []byte("1")}, nil, nil)
	t.disturb("restart", t.store.Restart)
	t.valued(t.open(), values{key: []byte("1")}, key)
	if again := t.acquire(s, role); again == token {
		t.writes(near, role, token, values{key: []byte("2")}, values{key: []byte("1")}, nil)
	}
}

func valuesContextObeyed(t *trial) {
	role, key := t.named("r"), t.named("k")
	near, _, token := t.holder(role, "a")
	v := t.values(near)
	done, end := context.WithCancel(t.ctx)
	end()
	if _, err := v.Write(done, role, token, values{key: []byte("1")}, nil); err == nil {
		t.errorf("a write whose context is done succeeds")
	}
	t.valued(near, values{key: nil}, key)
	t.network("cut", near.Cut)
	for name, call := range map[string]func(ctx context.Context) error{
		"Write": func(ctx context.Context) error {
			_, err := v.Write(ctx, role, token, values{key: []byte("1")}, nil)
			return err
		},
		"Read": func(ctx context.Context) error { _, err := v.Read(ctx, key); return err },
		"Follow": func(ctx context.Context) error {
			for _, err := range v.Follow(ctx, key) {
				if err == nil {
					return nil
				}
			}
			return ctx.Err()
		},
	} {
		ctx, cancel := context.WithTimeout(t.ctx, 200*time.Millisecond)
		t.obeys(ctx, name, call)
		cancel()
	}
	t.network("heal", near.Heal)
}
