package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// patience is how long a command says nothing while it waits for the store's first answer.
const patience = 1500 * time.Millisecond

// A wait is what one call has heard of the store until it answers.
type wait struct {
	mu    sync.Mutex
	why   error // of the last try that failed
	timer *time.Timer
}

type waitKey struct{}

// tellWait has a call say what it waits for, once, where the store has not answered for a while.
// It goes on waiting, for its own time.
func (o *Options) tellWait(ctx context.Context, to io.Writer) context.Context {
	w := &wait{}
	w.timer = time.AfterFunc(patience, func() {
		w.mu.Lock()
		why := w.why
		w.mu.Unlock()
		text := fmt.Sprintf("understudy: waiting for the store %s, which has not answered yet", o.storeAt())
		if why = o.Explain(why); why != nil {
			first, _, more := strings.Cut(why.Error(), "\n")
			if text += ": " + first; more {
				text += " ..."
			}
		}
		Say(to, abridge(text)+"\n")
	})
	context.AfterFunc(ctx, func() { w.timer.Stop() })
	return context.WithValue(ctx, waitKey{}, w)
}

// Heard notes how a try of a call that Ask has begun went; nil: the store answered.
func Heard(ctx context.Context, err error) {
	w, ok := ctx.Value(waitKey{}).(*wait)
	switch {
	case !ok:
	case err == nil:
		w.timer.Stop()
	default:
		w.mu.Lock()
		defer w.mu.Unlock()
		w.why = err
	}
}

// All takes every role that the store has, one by one, until take returns false or none has come
// for a while after the store has answered: a Locker shows one after another what it read at
// once. It tries until ctx is done, and then says what was in the way.
func All(ctx context.Context, l lock.Locker, take func(lock.Standing) bool) error {
	all, stop := context.WithCancel(ctx)
	defer stop()
	var heard atomic.Bool
	answered := func() {
		if !heard.Swap(true) {
			Heard(ctx, nil)
			time.AfterFunc(arriving, stop)
		}
	}
	probed := make(chan error, 1)
	go func() {
		err := probe(all, l, answered)
		if err != nil {
			stop()
		}
		probed <- err
	}()
	for st, err := range l.Watch(all) {
		if err != nil {
			Pause(all)
			continue
		}
		if answered(); !take(st) {
			break
		}
	}
	stop()
	if err := <-probed; !heard.Load() {
		return err
	}
	return nil
}

// arriving is how long more roles are waited for, once the store has answered.
const arriving = 500 * time.Millisecond

// probe has answered called once the store shows any role, also one that nobody ever took part
// in: of an empty store a watch of all roles shows nothing.
func probe(ctx context.Context, l lock.Locker, answered func()) (why error) {
	for st, err := range l.Watch(ctx, "any") {
		refused := errors.Is(err, lock.ErrPermanent)
		switch {
		case err == nil, refused && st.Role != "": // something else stands in its place
			answered()
			return nil
		case refused:
			return err
		case ctx.Err() == nil:
			why = err
			Heard(ctx, err)
			Pause(ctx)
		case why == nil: // the last word of a Locker that was trying all the time
			why = err
		}
	}
	return cmp.Or(why, context.Cause(ctx))
}

// storeAt names the store, and where it is.
func (o *Options) storeAt() string {
	name := o.Store.Backend
	for _, v := range o.Values() {
		if k := v.Key.Name; v.Text != "" && (k == name+".peers" || k == name+".endpoints" || k == name+".address" || k == name+".url" || k == name+".endpoint") {
			return name + " at " + v.Text
		}
	}
	return name
}
