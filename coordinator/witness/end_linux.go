package witness

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/understudy-ha/understudy/internal/history"
	"github.com/understudy-ha/understudy/internal/procgroup"
	"github.com/understudy-ha/understudy/lock"
)

// reach opens the store, and reads the line now and then, often at first. So when it is needed
// there is a connection, and a Locker that has seen the session and the identity of its store: it
// writes to no other store that may be there later.
func (c *child) reach(ctx context.Context, open Open) {
	said := ""
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		l, err := open(ctx, c.Store)
		if err == nil {
			c.locker = l
			close(c.opened)
			break
		}
		if err.Error() != said {
			said = err.Error()
			c.log.Warn("the store cannot be opened", "error", err)
		}
		time.Sleep(pause)
	}
	for pause := time.Second; ctx.Err() == nil; pause = min(2*pause, warm) {
		if err := c.read(ctx); err != nil {
			c.log.Debug("the line cannot be read", "error", err)
		}
		shrink()
		time.Sleep(pause)
	}
}

// end ends the groups and then the session, if there are any; meanwhile the store may choose
// another leader. It tries until the promise has surely run out: by then others have ended the
// session.
func (c *child) end(id lock.SessionID) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), c.Promise.TTL+c.Promise.Skew+time.Second)
	defer cancel()
	ready := make(chan error, 1)
	if id != "" {
		go func() { ready <- c.elect(ctx) }()
	}
	c.hold() // also those named since the last look
	procgroup.Kill(c.held[:]...)
	procgroup.End(c.held[:]...)
	if id == "" {
		return
	}
	err := <-ready
	if err == nil {
		err = c.evict(ctx, id)
	}
	if err != nil {
		c.log.Error("the process is dead, and its session could not be ended: it expires with its promise", "session", id, "error", err)
		return
	}
	c.log.Info("the process is dead, its session is ended", "session", id, "took", time.Since(began).Round(time.Microsecond))
}

// An elector is a Locker whose store is in the processes themselves: the dead one may have led
// it. Elect makes the others choose another leader at once if it did, and returns when that was
// requested.
type elector interface {
	Elect(ctx context.Context, dead string) error
}

// elect waits for the store, and makes it go on without the dead process.
func (c *child) elect(ctx context.Context) error {
	select {
	case <-c.opened:
	case <-ctx.Done():
		return errors.New("the store was never reached")
	}
	if e, ok := c.locker.(elector); ok {
		if err := e.Elect(ctx, c.ID); err != nil {
			c.log.Warn("could not ask for an election", "error", err)
		}
	}
	return nil
}

// evict ends the session, and tries as long as it may: another try begins while one has no
// answer, because that one may be far away, or lost at a member of the store that hangs. It evicts
// on any beat: one may still arrive that the process had sent before it died. What the store refuses, it may allow
// a moment later.
func (c *child) evict(ctx context.Context, id lock.SessionID) error {
	answers := make(chan error, tries)
	why := history.Dead
	if c.killed != "" {
		why = history.Killed + c.killed
	}
	try := func() {
		ctx, cancel := context.WithTimeout(ctx, c.patience())
		defer cancel()
		answers <- c.locker.Evict(ctx, id, lock.AnyBeat, lock.End{By: "the witness of " + c.ID, Why: why})
	}
	var refusal error // the store's last one, which says more than that the time is over
	pause := retry
	for open := 0; ; {
		if open < tries {
			open++
			go try()
		}
		select {
		case err := <-answers:
			open--
			if errors.Is(err, lock.ErrPermanent) {
				refusal = err
			}
			if err == nil {
				return nil
			}
			if ctx.Err() != nil {
				return cmp.Or(refusal, err)
			}
			c.log.Debug("the session is not ended yet", "error", err)
			time.Sleep(pause)
			pause = max(retry, min(2*pause, c.Promise.TTL/100))
		case <-time.After(hedge):
		}
	}
}

// patience is how long one call may take: about nine tenths of a try for each of its round trips,
// at most four.
func (c *child) patience() time.Duration { return max(reading, c.Promise.TTL/2) }

// read reads the line once.
func (c *child) read(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.patience())
	defer cancel()
	for _, err := range c.locker.Watch(ctx, c.Roles...) {
		return err
	}
	return context.Cause(ctx)
}
