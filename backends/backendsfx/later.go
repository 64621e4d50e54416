package backendsfx

import (
	"context"
	"errors"
	"iter"
	"sync"

	"github.com/understudy-ha/understudy/lock"
)

// A later is a Locker that is opened in the background. Calls wait for that.
type later struct {
	open   func(context.Context) (lock.Locker, error)
	ctx    context.Context // of open; ends with Close
	cancel context.CancelFunc

	starting, finishing sync.Once
	over                chan struct{} // closed when locker or err is set
	locker              lock.Locker
	err                 error
}

var _ lock.Locker = (*later)(nil)

var errClosed = errors.New("the locker is closed")

func newLater(open func(context.Context) (lock.Locker, error)) *later {
	l := &later{open: open, over: make(chan struct{})}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	return l
}

// start opens the store. It calls failed where that fails before Close.
func (l *later) start(failed func(error)) {
	l.starting.Do(func() {
		go func() {
			locker, err := l.open(l.ctx)
			l.finish(locker, err)
			if err != nil && l.ctx.Err() == nil {
				failed(err)
			}
		}()
	})
}

func (l *later) finish(locker lock.Locker, err error) {
	l.finishing.Do(func() {
		l.locker, l.err = locker, err
		close(l.over)
	})
}

// wait returns the Locker once it is open.
func (l *later) wait(ctx context.Context) (lock.Locker, error) {
	select {
	case <-l.over:
		return l.locker, l.err
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-l.ctx.Done():
		return nil, errClosed
	}
}

func (l *later) Register(ctx context.Context, c lock.Contender, p lock.Promise, bids ...lock.Bid) (lock.Session, error) {
	locker, err := l.wait(ctx)
	if err != nil {
		return nil, err
	}
	return locker.Register(ctx, c, p, bids...)
}

func (l *later) Watch(ctx context.Context, roles ...string) iter.Seq2[lock.Standing, error] {
	return func(yield func(lock.Standing, error) bool) {
		locker, err := l.wait(ctx)
		if err != nil {
			yield(lock.Standing{}, err)
			return
		}
		locker.Watch(ctx, roles...)(yield)
	}
}

func (l *later) Evict(ctx context.Context, id lock.SessionID, seen lock.Beat, why lock.End) error {
	locker, err := l.wait(ctx)
	if err != nil {
		return err
	}
	return locker.Evict(ctx, id, seen, why)
}

func (l *later) Ask(ctx context.Context, role string, r lock.Request) error {
	locker, err := l.wait(ctx)
	if err != nil {
		return err
	}
	return locker.Ask(ctx, role, r)
}

func (l *later) Raise(ctx context.Context, above lock.Token) error {
	locker, err := l.wait(ctx)
	if err != nil {
		return err
	}
	return locker.Raise(ctx, above)
}

func (l *later) Adopt(ctx context.Context, identity string) error {
	locker, err := l.wait(ctx)
	if err != nil {
		return err
	}
	return locker.Adopt(ctx, identity)
}

// Close ends the opening too, and waits for it.
func (l *later) Close() error {
	l.cancel()
	l.starting.Do(func() { l.finish(nil, errClosed) }) // it was never started
	<-l.over
	if l.locker == nil {
		return nil
	}
	return l.locker.Close()
}
