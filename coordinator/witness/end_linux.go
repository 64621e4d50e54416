package witness

import (
	"context"
	"errors"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// reach opens the store, and reads the line now and then, so that there is a
// connection when it is needed.
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
	for ctx.Err() == nil {
		if _, err := c.find(ctx, c.page.session.load().id()); err != nil {
			c.log.Debug("the line cannot be read", "error", err)
		}
		time.Sleep(warm)
	}
}

// An elector is a Locker whose store lives in the processes themselves: the one that is
// dead may have led it. Elect has the others choose another leader at once where it
// did, and returns when that was asked for.
type elector interface {
	Elect(ctx context.Context, dead string) error
}

// end ends the session, and tries until the promise has surely run out: then others
// have ended it.
func (c *child) end(id lock.SessionID) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), c.Promise.TTL+c.Promise.Skew+time.Second)
	defer cancel()
	select {
	case <-c.opened:
	case <-ctx.Done():
		c.log.Error("the process is dead, and its session could not be ended: the store was never reached")
		return
	}
	if e, ok := c.locker.(elector); ok {
		if err := e.Elect(ctx, c.ID); err != nil {
			c.log.Warn("no election was asked for", "error", err)
		}
	}
	var err error
	for ctx.Err() == nil {
		if err = c.evict(ctx, id); err == nil || errors.Is(err, lock.ErrPermanent) {
			break
		}
		c.log.Debug("the session is not ended yet", "error", err)
		time.Sleep(retry)
	}
	if err != nil {
		c.log.Error("the process is dead, and its session could not be ended: its promise ends it", "session", id, "error", err)
		return
	}
	c.log.Info("the process is dead, its session is ended", "session", id, "took", time.Since(began).Round(time.Microsecond))
}

// evict ends the session on the beat on which it stands.
func (c *child) evict(ctx context.Context, id lock.SessionID) error {
	beat, err := c.find(ctx, id)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, reading)
	defer cancel()
	return c.locker.Evict(ctx, id, beat, lock.End{By: "the witness of " + c.ID, Why: "its process is dead"})
}

// find reads the line once, and returns the beat on which a session stands there.
func (c *child) find(ctx context.Context, id lock.SessionID) (lock.Beat, error) {
	ctx, cancel := context.WithTimeout(ctx, reading)
	defer cancel()
	seen := map[string]bool{}
	for st, err := range c.locker.Watch(ctx, c.Roles...) {
		if err != nil {
			return 0, err
		}
		for _, m := range st.Line {
			if m.Session == id {
				return m.Beat, nil
			}
		}
		if st.Term.Holder.Session == id && !st.Term.Vacant() {
			return st.Term.Holder.Beat, nil
		}
		if seen[st.Role] = true; len(seen) == len(c.Roles) {
			return lock.Absent, nil
		}
	}
	return 0, context.Cause(ctx)
}
