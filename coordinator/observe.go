package coordinator

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// ErrSilent is what Observe yields when nothing was heard of the active for its promise: it is
// dead and nobody has taken over yet, or the store cannot be reached.
var ErrSilent = errors.New("nothing was heard of the active for its promise")

// Observe yields who is active in the role: now, and again after every change, until ctx is done
// or the consumer breaks. It is for a client that follows the active and does not contend.
// Term.Holder says who is active and where (ID, Address, Labels); Term.Vacant that nobody is, and
// Term.Over or Term.End how the last term ended.
//
// What it yields is a hint, not a promise: the active may have changed, or died, since. A client
// that must not talk to a former active sends the token along, and the active refuses a token
// that is not its own.
//
// An error says that there may be something newer: it is the store's, or ErrSilent. The term
// beside it is the last one known, or the zero Term. An outage is reported once; Observe goes on
// trying, and yields the term again, changed or not, when the store answers. Only ctx ends it: a
// store that can never answer (lock.ErrPermanent) is asked again, too.
//
// It skips what was overtaken while the consumer was busy, blocks while there is nothing new, and
// has ended all that it started when the loop over it ends. It does not close l, which must stay
// open that long.
func Observe(ctx context.Context, l lock.Locker, role string) iter.Seq2[lock.Term, error] {
	return func(yield func(lock.Term, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		o := &observer{heard: make(chan heard), ended: make(chan struct{})}
		go o.watch(ctx, l, role)
		defer func() { cancel(); <-o.ended }()
		for {
			h, ok := o.next(ctx)
			if !ok {
				return
			}
			if o.tells(h) && !yield(o.last, h.err) {
				return
			}
		}
	}
}

// An observer is one running Observe.
type observer struct {
	heard chan heard
	ended chan struct{} // closed when nothing more comes

	last   lock.Term // the last one known
	told   bool      // something was yielded
	moved  time.Time // when the active's beat was first heard
	out    bool      // an outage was reported, and is not over
	silent bool      // the active's silence was reported, and is not over
}

// Heard is what came from the store.
type heard struct {
	term lock.Term
	err  error
}

// observePause is how long a store that failed is left alone.
const observePause = 100 * time.Millisecond

// watch reports what the store says until ctx is done.
func (o *observer) watch(ctx context.Context, l lock.Locker, role string) {
	defer close(o.ended)
	tell := func(h heard) {
		select {
		case o.heard <- h:
		case <-ctx.Done():
		}
	}
	for ctx.Err() == nil {
		for st, err := range l.Watch(ctx, role) {
			if ctx.Err() != nil {
				return
			}
			tell(heard{st.Term, err})
			if err != nil {
				pause(ctx, observePause)
			}
		}
		pause(ctx, observePause) // then a new watch begins
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// next waits for the store's next answer, but no longer than the active's promise lasts. It is
// false when ctx is done.
func (o *observer) next(ctx context.Context) (heard, bool) {
	var silence <-chan time.Time
	if p := o.last.Holder.Promise; !o.last.Vacant() && !o.out && !o.silent && p.TTL > 0 {
		// What came while the consumer was busy comes first.
		timer := time.NewTimer(max(p.TTL+p.Skew-time.Since(o.moved), observePause))
		defer timer.Stop()
		silence = timer.C
	}
	select {
	case h := <-o.heard:
		return h, ctx.Err() == nil
	case <-silence:
		return heard{err: ErrSilent}, true
	case <-ctx.Done():
		return heard{}, false
	}
}

// tells takes in what was heard, and reports whether to tell the consumer.
func (o *observer) tells(h heard) bool {
	if h.err != nil {
		tell := !o.out && !o.silent
		silent := errors.Is(h.err, ErrSilent)
		o.out, o.silent = o.out || !silent, o.silent || silent
		return tell
	}
	moved := !o.told || h.term.Token != o.last.Token || h.term.Holder.Beat != o.last.Holder.Beat
	if moved {
		o.moved = time.Now()
	}
	tell := !o.told || !sameTerm(o.last, h.term) || !o.silent && o.out || o.silent && moved
	o.last, o.out, o.told = h.term, false, true
	o.silent = o.silent && !tell
	return tell
}

// sameTerm reports whether a and b are the same to a consumer, who does not care about beats.
func sameTerm(a, b lock.Term) bool {
	return a.Token == b.Token && a.Over == b.Over && a.End == b.End &&
		a.Holder.ID == b.Holder.ID && a.Holder.Address == b.Holder.Address
}
