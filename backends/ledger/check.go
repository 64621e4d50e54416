package ledger

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/understudy-ha/understudy/lock"
)

// MaxCommand is the most bytes of text in a command, not counting the values of Write.
const MaxCommand = 1 << 20

// Check says what is wrong with c, no matter who made it: it may have come over a network, or
// from a program with other rules. The error is lock.ErrPermanent. Apply refuses such a command
// without effect, on every node alike.
func (c Command) Check() error {
	return errors.Join(c.checkSize(), c.checkIdentity(), c.checkOp(), lock.CheckPromise(c.Promise), lock.CheckBids(c.Bids...))
}

// checkOp checks what the operation needs.
func (c Command) checkOp() error {
	session := func(id lock.SessionID) error { return lock.CheckName("session", string(id)) }
	role := lock.CheckName("role", c.Role)
	switch c.Op {
	case Register:
		return errors.Join(lock.CheckName("id", c.Contender.ID), session(c.Contender.Session))
	case Beat:
		return session(c.Session)
	case Acquire, Release:
		return errors.Join(session(c.Session), role)
	case Handoff:
		return errors.Join(session(c.Session), role, session(c.To))
	case Close, Evict:
		return errors.Join(session(c.Session), lock.CheckEnd(c.End))
	case Ask:
		if c.Request.To == "" {
			return role
		}
		return errors.Join(role, session(c.Request.To))
	case Raise:
		return lock.CheckFloor(c.Token)
	case Write:
		return errors.Join(role, checkValues(c.Values, MaxWrite), checkKeys(slices.Collect(maps.Keys(c.When))))
	case Read:
		return checkKeys(c.Keys)
	case Pause, Resume:
		return errors.Join(role, lock.CheckPause(c.Pause))
	case Configure:
		return errors.Join(lock.CheckName("id", c.Contender.ID), lock.CheckSettings(c.Settings))
	case Record:
		return errors.Join(role, lock.CheckEvent(c.Event))
	case History:
		return role
	case Restore:
		return c.checkBackup()
	case Fence:
		return errors.Join(role, lock.CheckFence(c.Fence))
	case Configured, Save:
		return nil
	case Adopt:
		return lock.CheckName("identity", c.Adopt)
	case Begin:
		return lock.CheckName("identity", c.Name)
	case Nothing:
		return nil
	}
	return lock.Permanent(fmt.Errorf("unknown command %q", c.Op))
}

func (c Command) checkIdentity() error {
	var errs []error
	for _, name := range []string{c.Identity, c.Name} {
		if name != "" {
			errs = append(errs, lock.CheckName("identity", name))
		}
	}
	return errors.Join(errs...)
}

func (c Command) checkSize() error {
	p, e := c.Contender.Process, c.Event
	fields := []struct {
		name string
		size int
	}{
		{"address", len(c.Contender.Address)},
		{"end", len(c.End.By) + len(c.End.Why)},
		{"request", len(c.Request.To) + len(c.Request.By)},
		{"process", len(p.Boot) + len(p.PIDs) + len(p.Times) + len(p.Started)},
		{"pause", len(c.Pause.By) + len(c.Pause.Why)},
		{"labels", 0},
		{"bids", 0},
		{"keys", 0},
		{"settings", len(c.Settings.By)},
		{"event", len(e.By) + len(e.Kind) + len(e.From) + len(e.Cause) + len(e.Detail)},
		{"fence", len(c.Fence.By) + len(c.Fence.Session)},
	}
	labels, bids, keys, settings, event := &fields[5].size, &fields[6].size, &fields[7].size, &fields[8].size, &fields[9].size
	for role := range c.Settings.Priorities {
		*settings += len(role)
	}
	for _, part := range e.Parts {
		*event += len(part.Name)
	}
	for key, value := range c.Contender.Labels {
		*labels += len(key) + len(value)
	}
	for _, b := range c.Bids {
		*bids += len(b.Role)
	}
	for _, key := range c.Keys {
		*keys += len(key)
	}
	n, most := 0, fields[0]
	for _, f := range fields {
		if n += f.size; f.size > most.size {
			most = f
		}
	}
	if n > MaxCommand {
		return lock.Permanent(fmt.Errorf("%s: %d bytes, and %d in the whole command %q, the limit is %d", most.name, most.size, n, c.Op, MaxCommand))
	}
	return nil
}

func checkKeys(keys []string) error {
	var errs []error
	for _, key := range keys {
		errs = append(errs, lock.CheckName("key", key))
	}
	return errors.Join(errs...)
}

// checkValues says what is wrong with values of which at most so many bytes can be there.
func checkValues(values map[string][]byte, most int) error {
	var errs []error
	n := 0
	for key, value := range values {
		if value != nil {
			n += len(key) + len(value)
		}
		errs = append(errs, lock.CheckName("key", key))
		if strings.HasSuffix(key, "/") {
			errs = append(errs, lock.Permanent(fmt.Errorf("key %q: must not end in a slash, which stands for many keys", key)))
		}
	}
	if n > most {
		errs = append(errs, lock.Permanent(fmt.Errorf("values: %d bytes in one write, the limit is %d", n, most)))
	}
	return errors.Join(errs...)
}
