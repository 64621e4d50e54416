package kv

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/understudy-ha/understudy/internal/late"
	"github.com/understudy-ha/understudy/lock"
)

func (l *locker) Watch(ctx context.Context, roles ...string) iter.Seq2[lock.Standing, error] {
	return func(yield func(lock.Standing, error) bool) {
		f, from, leave := l.join()
		defer leave()
		w := watch{follower: f, roles: roles, yield: yield, shown: map[string]*lock.Standing{}, bad: map[string]error{}}
		var number uint64
		var looked bool
		var failure error
		for began := time.Now(); ; {
			n, err := f.next(ctx, number)
			if err != nil {
				if !looked || errors.Is(err, errClosed) {
					if late.Is(err) {
						err = late.Error(err, "the store gave no answer within %s", time.Since(began).Round(time.Millisecond))
					}
					yield(lock.Standing{}, fmt.Errorf("watch: %w", errors.Join(err, failure)))
				}
				return
			}
			number = n.number
			if failure = n.err; failure != nil {
				w.forget()
				if !yield(lock.Standing{}, fmt.Errorf("watch: %w", failure)) {
					return
				}
				continue
			}
			if n.answered < from {
				continue
			}
			looked = true
			if !w.show(n) {
				return
			}
		}
	}
}

// A watch is what one consumer has been shown.
type watch struct {
	follower *follower
	roles    []string // none: all
	yield    func(lock.Standing, error) bool
	shown    map[string]*lock.Standing // nil: show again, changed or not
	bad      map[string]error          // roles whose record was reported as not readable
}

// forget makes every standing show again, once the failure that is reported now is over.
func (w *watch) forget() {
	for role := range w.shown {
		w.shown[role] = nil
	}
}

// show yields what has changed, and then what is not readable. It reports whether the consumer
// goes on.
func (w *watch) show(n news) bool {
	names := w.roles
	if len(names) == 0 {
		all := maps.Clone(n.standings)
		maps.Copy(all, w.shown) // a role that is gone has changed too
		names = slices.Sorted(maps.Keys(all))
	}
	names = w.follower.fresh(n, names)
	for _, role := range names {
		if n.picture.bad[role] != nil {
			continue
		}
		st, old := n.standings[role], w.shown[role]
		if st == nil {
			vacant := n.picture.standing(role)
			st = &vacant
		}
		if old != nil && (st == old || reflect.DeepEqual(*st, *old)) {
			continue
		}
		w.shown[role] = st
		if !w.yield(*st, nil) {
			return false
		}
	}
	for _, role := range names {
		err := n.picture.bad[role]
		if err != nil && w.bad[role] == nil && !w.yield(lock.Standing{Role: role}, fmt.Errorf("watch: %w", err)) {
			return false
		}
		w.bad[role] = err
		if err != nil {
			w.shown[role] = nil
		}
	}
	return true
}
