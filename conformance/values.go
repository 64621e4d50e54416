package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/understudy-ha/understudy/lock"
)

// valuesCases are what a store must do if its Locker is a lock.Values.
var valuesCases = []kase{
	row("ValuesTerm", valuesTerm,
		"A term stands until its end is written in the role's record, or the next one begins.", needs(Values)),
	row("ValuesDiffer", valuesDiffer,
		"ErrDiffers: a value is not as given, and nothing was written.", needs(Values)),
	row("ValuesRace", valuesRace,
		"Write puts and deletes (nil) values, in one commit in which the term t of the role stands and in which every value of when is as given (nil: there is none).", needs(Values)),
	row("ValuesTermRace", valuesTermRace,
		"Any other ErrMoved: the term is over, nothing was written, and current is the token of the role's last term.", needs(Values)),
	row("ValuesRead", valuesRead,
		`A key that ends in "/" stands for all that begin with it. It includes everything that anybody had written before it began.`, needs(Values)),
	row("ValuesLimits", valuesLimits,
		"ErrPermanent: nothing was written, for example because a limit would be exceeded.", needs(Values)),
	row("ValuesRefused", valuesRefused,
		"Bad input is ErrPermanent, and nothing is written.", needs(Values)),
	row("ValuesFollow", valuesFollow,
		"Follow yields the value of a key now, and again after every change; nil: there is none.", needs(Values)),
	row("ValuesFollowBroken", valuesFollowBroken,
		"After an error it goes on when the consumer does, and yields the value again, changed or not.", needs(Values, Refuse)),
	row("ValuesLate", valuesLate,
		"the write may still take effect later, while the term stands and the values are as given.", needs(Values, CutReplies, CutRequests)),
	row("ValuesReplyLost", valuesReplyLost,
		"After any other error the outcome is unknown: the write may still take effect later", needs(Values, CutReplies)),
	row("ValuesRestart", valuesRestart,
		"It includes everything that anybody had written before it began.", needs(Values, Restart)),
	row("ValuesContextObeyed", valuesContextObeyed,
		"Every call obeys its context as a Locker's does, and needs no session.", needs(Values, Cut)),
}

type values = map[string][]byte

// values is the client's lock.Values.
func (t *trial) values(c *Client) lock.Values {
	v, ok := c.Locker.(lock.Values)
	if !ok {
		t.fatalf("a %T does not implement lock.Values", c.Locker)
	}
	return v
}

// write is the outcome of a write, which is known. One that is tried again after an unknown outcome
// may find what it wrote.
func (t *trial) write(l *Client, role string, token lock.Token, changes, when values) (current lock.Token, err error) {
	v, tries := t.values(l), 0
	err = t.known("write", func(ctx context.Context) (err error) {
		tries++
		current, err = v.Write(ctx, role, token, changes, when)
		return err
	})
	if tries > 1 && errors.Is(err, lock.ErrDiffers) && t.written(v, changes) {
		err = nil
	}
	return current, err
}

// written reports whether the values are there that a write should have left.
func (t *trial) written(v lock.Values, changes values) bool {
	var found values
	t.must("read", func(ctx context.Context) (err error) {
		found, err = v.Read(ctx, slices.Collect(maps.Keys(changes))...)
		return err
	})
	for key, value := range changes {
		if is, ok := found[key]; ok != (value != nil) || !bytes.Equal(is, value) {
			return false
		}
	}
	return true
}

// writes expects an outcome of a write.
func (t *trial) writes(l *Client, role string, token lock.Token, changes, when values, want error) lock.Token {
	current, err := t.write(l, role, token, changes, when)
	if errors.Is(err, lock.ErrDiffers) != errors.Is(want, lock.ErrDiffers) {
		t.errorf("write %s of token %d: %v, want %v", role, token, err, want)
	}
	t.expect(err, want, "write")
	return current
}

// valued expects what a Read finds; nil: no value.
func (t *trial) valued(l *Client, want values, keys ...string) {
	v := t.values(l)
	var found values
	t.must("read", func(ctx context.Context) (err error) { found, err = v.Read(ctx, keys...); return err })
	for key, value := range want {
		if is, ok := found[key]; ok != (value != nil) || !bytes.Equal(is, value) {
			t.errorf("read %q: %q is %.40q, found %v, want %.40q", keys, key, is, ok, value)
		}
	}
	for key := range found {
		if _, ok := want[key]; !ok && len(keys) > 0 {
			t.errorf("read %q: %q is there", keys, key)
		}
	}
}

// holder takes a role and returns its Locker and token.
func (t *trial) holder(role, id string) (*Client, lock.Session, lock.Token) {
	l := t.open()
	s := t.join(l, id, role)
	return l, s, t.acquire(s, role)
}

func valuesTerm(t *trial) {
	role, key := t.named("r"), t.named("k")
	near, a, first := t.holder(role, "a")
	far := t.open()
	b := t.join(far, "b", role)
	one, two := values{key: []byte("1")}, values{key: []byte("2")}
	t.writes(near, role, first, one, nil, nil)
	t.writes(far, role, first, two, nil, nil) // any client may write it while the term stands
	for _, wrong := range []lock.Token{0, first - 1, first + 1} {
		if current := t.writes(far, role, wrong, one, nil, lock.ErrMoved); current != first {
			t.errorf("a write of token %d is told the current one is %d, want %d", wrong, current, first)
		}
	}
	t.writes(near, t.named("never held"), first, one, nil, lock.ErrMoved)
	t.must("hand off", func(ctx context.Context) error { return a.Handoff(ctx, role, first, b.ID()) })
	second := t.acquire(b, role)
	for _, l := range []*Client{near, far} { // the first still believes in its term
		if current := t.writes(l, role, first, one, nil, lock.ErrMoved); current != second {
			t.errorf("a stale write is told the current token is %d, want %d", current, second)
		}
	}
	t.valued(near, two, key)
	t.writes(far, role, second, one, nil, nil)
	t.release(b, role, second)
	for _, l := range []*Client{near, far} {
		if current := t.writes(l, role, second, two, nil, lock.ErrMoved); current != second {
			t.errorf("a write after the release is told the last token is %d, want %d", current, second)
		}
	}
	t.valued(near, one, key)
}

func valuesDiffer(t *trial) {
	role, key, other := t.named("r"), t.named("k"), t.named("other")
	near, _, token := t.holder(role, "a")
	far := t.open()
	none := values{key: nil}
	t.writes(near, role, token, values{key: []byte("1")}, none, nil)
	for _, l := range []*Client{near, far} { // one knows what it wrote
		for _, wrong := range []values{none, {key: []byte("2")}, {key: {}}, {key: []byte("1"), other: {}}} {
			t.writes(l, role, token, values{key: []byte("wrong"), other: []byte("wrong")}, wrong, lock.ErrDiffers)
		}
	}
	t.valued(far, values{key: []byte("1"), other: nil}, key, other)
	t.writes(far, role, token, values{key: {}}, values{key: []byte("1")}, nil)
	t.writes(near, role, token, values{key: []byte("wrong")}, values{key: []byte("1")}, lock.ErrDiffers) // it knows what it wrote, and that is old
	t.writes(near, role, token, values{other: []byte("2"), key: nil}, values{key: {}, other: nil}, nil)
	t.writes(near, role, token-1, values{key: []byte("wrong")}, values{key: []byte("9")}, lock.ErrMoved)
	t.writes(far, role, token, values{key: []byte("3")}, none, nil)
	t.valued(near, values{key: []byte("3"), other: []byte("2")}, key, other)
}

// valuesRace counts up from several Lockers: every count is somebody's, once.
func valuesRace(t *trial) {
	role, key := t.named("r"), t.named("k")
	near, _, token := t.holder(role, "a")
	all := []*Client{near, t.open(), t.open()}
	var mu sync.Mutex
	seen := map[string]int{}
	t.together(len(all), func(i int) {
		v := t.values(all[i])
		for range 10 {
			found, err := v.Read(t.ctx, key)
			if err != nil {
				continue
			}
			next := append(bytes.Clone(found[key]), byte('a'+i))
			if _, err := v.Write(t.ctx, role, token, values{key: next}, values{key: found[key]}); err == nil {
				mu.Lock()
				seen[string(next)]++
				mu.Unlock()
			}
		}
	})
	var last values
	t.must("read", func(ctx context.Context) (err error) { last, err = t.values(near).Read(ctx, key); return err })
	for next, n := range seen {
		if n != 1 || !strings.HasPrefix(string(last[key]), next) {
			t.errorf("%q was written %d times, and %q is there at last", next, n, last[key])
		}
	}
	if len(seen) == 0 {
		t.errorf("nothing was written")
	}
}

// valuesTermRace writes while terms change: nothing of a term comes after the next has written.
func valuesTermRace(t *trial) {
	role, key := t.named("r"), t.named("k")
	sessions, lockers := make([]lock.Session, 3), make([]*Client, 3)
	for i := range sessions {
		lockers[i] = t.open()
		sessions[i] = t.join(lockers[i], fmt.Sprint(i), role)
	}
	for round := range 5 {
		old, next := round%3, (round+1)%3
		token := t.acquire(sessions[old], role)
		var began []byte
		t.together(2, func(i int) {
			if i == 0 {
				for range 20 {
					_, _ = t.values(lockers[old]).Write(t.ctx, role, token, values{key: []byte("old")}, nil) // judged below
				}
				return
			}
			t.must("hand off", func(ctx context.Context) error {
				return sessions[old].Handoff(ctx, role, token, sessions[next].ID())
			})
			began = fmt.Appendf(nil, "term %d", t.acquire(sessions[next], role))
			t.writes(lockers[next], role, t.acquire(sessions[next], role), values{key: began}, nil, nil)
		})
		t.valued(lockers[round%3], values{key: began}, key)
	}
}

func valuesRead(t *trial) {
	role, top := t.named("r"), strings.ReplaceAll(t.named("top"), " ", "_")
	near, _, token := t.holder(role, "a")
	far := t.open()
	want := values{
		top + "/a": []byte("1"), top + "/b": {}, top + "/b/c": {0, '\n', 0xff, '{'}, top + "/é %2F\"": []byte("\n"),
		top: []byte("beside"), top + "x": []byte("another"), top + "/..": []byte("dots"),
	}
	t.writes(near, role, token, want, nil, nil)
	for _, l := range []*Client{near, far} {
		t.valued(l, want)
		for key, value := range want {
			t.valued(l, values{key: value}, key)
		}
		below := maps.Clone(want)
		delete(below, top)
		delete(below, top+"x")
		t.valued(l, below, top+"/")
		t.valued(l, values{top + "/b/c": want[top+"/b/c"], top: want[top]}, top+"/b/", top, t.named("none"))
		t.valued(l, values{}, t.named("none"), t.named("none")+"/")
	}
	t.writes(far, role, token, values{top + "/b": nil, top + "/a": []byte("2"), t.named("none"): nil}, nil, nil)
	t.valued(near, values{top + "/a": []byte("2"), top + "/b": nil}, top+"/a", top+"/b")
}

func (t *trial) limits(l *Client) (most lock.Limits) {
	t.must("ask for the limits", func(ctx context.Context) (err error) { most, err = t.values(l).Limits(ctx); return err })
	if most.Keys < 16 || most.Write < 16<<10 || most.Total < 2*most.Write {
		t.errorf("the limits are %+v: fewer than any store has", most)
	}
	return most
}

func valuesLimits(t *trial) {
	role, key := t.named("r"), t.named("k")
	near, _, token := t.holder(role, "a")
	most := t.limits(near)
	large := bytes.Repeat([]byte("\xff"), most.Write-2*len(key)) // the condition counts, too
	t.writes(near, role, token, values{key: large}, values{key: nil}, nil)
	t.valued(t.open(), values{key: large}, key)
	t.writes(near, role, token, values{key: append(large, make([]byte, len(key)+1)...)}, nil, lock.ErrPermanent)
	t.writes(near, role, token, values{key: large, key + "2": {}}, nil, lock.ErrPermanent)
	t.valued(near, values{key: large, key + "2": nil}, key, key+"2")
	t.writes(near, role, token, values{key: nil}, values{key: large}, nil)
	full := values{}
	for i := range most.Keys {
		full[fmt.Sprint(key, i)] = []byte("v")
	}
	t.writes(near, role, token, full, nil, nil)
	full[key] = []byte("one more")
	t.writes(near, role, token, full, nil, lock.ErrPermanent)
	t.valued(near, values{key: nil, key + "0": []byte("v")}, key, key+"0")
}

func valuesRefused(t *trial) {
	role, key := t.named("r"), t.named("k")
	near, _, token := t.holder(role, "a")
	for _, bad := range []string{"", "/", "/a", "a//b", "a/", "a\nb", "\xff", strings.Repeat("x", lock.MaxName+1)} {
		t.writes(near, role, token, values{key: []byte("1"), bad: []byte("1")}, nil, lock.ErrPermanent)
		t.writes(near, role, token, values{key: []byte("1")}, values{bad: nil}, lock.ErrPermanent)
		if bad == "a/" { // it stands for others
			continue
		}
		t.want(lock.ErrPermanent, "read "+bad, func(ctx context.Context) error { _, err := t.values(near).Read(ctx, bad); return err })
	}
	t.writes(near, "", token, values{key: []byte("1")}, nil, lock.ErrPermanent)
	t.valued(near, values{key: nil}, key)
}
