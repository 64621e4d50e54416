package conformance

import (
	"context"
	"iter"
	"maps"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/backends/ledger"
	"github.com/understudy-ha/understudy/lock"
)

// inValues are mistakes in what a store keeps as values.
var inValues = []planted{
	{"a stale term writes", "ValuesTerm", applied(func(s *shelf, c ledger.Command, next next) ledger.Result {
		if now := s.ledger.Roles[c.Role].Term; c.Op == ledger.Write && c.Token != 0 && now.Token > c.Token {
			c.Token = now.Token
		}
		return next(c)
	})},
	{"a term that is over writes", "ValuesTerm", applied(func(s *shelf, c ledger.Command, next next) ledger.Result {
		r := s.ledger.Roles[c.Role]
		if c.Op != ledger.Write || r.Term.Over == "" {
			return next(c)
		}
		open := r
		open.Term.Over = ""
		s.ledger.Roles[c.Role] = open
		defer func() { s.ledger.Roles[c.Role] = r }()
		return next(c)
	})},
	{"a stale write is not told the current token", "ValuesTerm", applied(func(_ *shelf, c ledger.Command, next next) ledger.Result {
		r := next(c)
		if c.Op == ledger.Write && r.Code == ledger.Moved {
			r.Token = 0
		}
		return r
	})},
	{"a condition is not compared", "ValuesDiffer", applied(func(_ *shelf, c ledger.Command, next next) ledger.Result {
		c.When = nil
		return next(c)
	})},
	{"an absent value is not compared", "ValuesDiffer", applied(func(_ *shelf, c ledger.Command, next next) ledger.Result {
		c.When = maps.Clone(c.When)
		maps.DeleteFunc(c.When, func(_ string, v []byte) bool { return v == nil })
		return next(c)
	})},
	{"an empty value counts as none", "ValuesDiffer", applied(func(_ *shelf, c ledger.Command, next next) ledger.Result {
		c.When = maps.Clone(c.When)
		for key, value := range c.When {
			if len(value) == 0 {
				c.When[key] = nil
			}
		}
		return next(c)
	})},
	{"a value that differs ends the term", "ValuesDiffer", applied(func(_ *shelf, c ledger.Command, next next) ledger.Result {
		r := next(c)
		if r.Code == ledger.Differs {
			r.Code = ledger.Moved
		}
		return r
	})},
	{"conditions are compared before the write", "ValuesRace", valued(func(v lock.Values) lock.Values { return looksBefore{v} })},
	{"the term is compared before the write", "ValuesTermRace", applied(func(s *shelf, c ledger.Command, next next) ledger.Result {
		if c.Op == ledger.Write && string(c.Values[c.Role[:len(c.Role)-1]+"k"]) == "old" {
			c.Token = s.ledger.Roles[c.Role].Term.Token
		}
		return next(c)
	})},
	{"half of a write is done", "ValuesRead", applied(func(_ *shelf, c ledger.Command, next next) ledger.Result {
		c.Values = maps.Clone(c.Values)
		maps.DeleteFunc(c.Values, func(key string, _ []byte) bool { return strings.HasSuffix(key, "/b/c") })
		return next(c)
	})},
	{"a prefix stands for more", "ValuesRead", applied(func(_ *shelf, c ledger.Command, next next) ledger.Result {
		if c.Op == ledger.Read && len(c.Keys) == 1 && strings.HasSuffix(c.Keys[0], "top/") {
			c.Keys = []string{c.Keys[0], strings.TrimSuffix(c.Keys[0], "/") + "x"}
		}
		return next(c)
	})},
	{"what is too large is cut", "ValuesLimits", valued(func(v lock.Values) lock.Values { return cutting{v} })},
	{"any key will do", "ValuesRefused", valued(func(v lock.Values) lock.Values { return anyKey{v} })},
	{"a Follow shows the first value only", "ValuesFollow", valued(func(v lock.Values) lock.Values { return following{v, 1, false} })},
	{"a Follow ends with its first error", "ValuesFollowBroken", valued(func(v lock.Values) lock.Values { return following{v, 0, true} })},
	{"a late write takes the current term", "ValuesLate", applied(func(s *shelf, c ledger.Command, next next) ledger.Result {
		if c.Op == ledger.Write {
			c.Token = s.ledger.Roles[c.Role].Term.Token
		}
		return next(c)
	})},
	{"a write whose reply is lost is acknowledged", "ValuesReplyLost", valued(func(v lock.Values) lock.Values { return believing{v} })},
	{"a Read does not obey", "ValuesContextObeyed", valued(func(v lock.Values) lock.Values { return slowly{v} })},
}

func valued(wrap func(lock.Values) lock.Values) mistake {
	return mistake{wrap: func(_ *shelf, l lock.Locker) lock.Locker {
		return &brokenLocker{Locker: l, Values: wrap(l.(lock.Values))}
	}}
}

type looksBefore struct{ lock.Values }

func (l looksBefore) Write(ctx context.Context, role string, t lock.Token, changes, when map[string][]byte) (lock.Token, error) {
	for key, want := range when {
		found, err := l.Read(ctx, key)
		if is, ok := found[key]; err != nil || ok != (want != nil) || string(is) != string(want) {
			return t, lock.ErrDiffers
		}
	}
	time.Sleep(time.Millisecond) // of virtual time: others write
	return l.Values.Write(ctx, role, t, changes, nil)
}

type cutting struct{ lock.Values }

func (l cutting) Write(ctx context.Context, role string, t lock.Token, changes, when map[string][]byte) (lock.Token, error) {
	changes = maps.Clone(changes)
	for key, value := range changes {
		if most := ledger.MaxWrite - len(key); len(value) > most {
			changes[key] = value[:most]
		}
	}
	return l.Values.Write(ctx, role, t, changes, when)
}

type anyKey struct{ lock.Values }

func (l anyKey) Write(ctx context.Context, role string, t lock.Token, changes, when map[string][]byte) (lock.Token, error) {
	changes = maps.Clone(changes)
	delete(changes, "a//b")
	return l.Values.Write(ctx, role, t, changes, when)
}

type following struct {
	lock.Values
	most   int // values that are shown; 0: all
	failed bool
}

func (l following) Follow(ctx context.Context, key string) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		n := 0
		for value, err := range l.Values.Follow(ctx, key) {
			if n++; !yield(value, err) || n == l.most || l.failed && err != nil {
				return
			}
		}
	}
}

type believing struct{ lock.Values }

func (l believing) Write(ctx context.Context, role string, t lock.Token, changes, when map[string][]byte) (lock.Token, error) {
	current, err := l.Values.Write(ctx, role, t, changes, when)
	if err != nil && ctx.Err() != nil {
		return t, nil
	}
	return current, err
}

type slowly struct{ lock.Values }

func (l slowly) Read(ctx context.Context, keys ...string) (map[string][]byte, error) {
	found, err := l.Values.Read(ctx, keys...)
	if err != nil {
		time.Sleep(time.Minute) // of virtual time
	}
	return found, err
}
