// Package s3 keeps the contract of package lock in one object of an S3 bucket. Package object says what is in
// it, and what each call does. See docs/s3.md.
//
// An object's version is its ETag, which is equal where the content is. No two contents are: each names the random ID
// of its write.
package s3

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/backends/object"
	"github.com/understudy-ha/understudy/lock"
)

// ErrUnconditional means that the server writes whatever the condition says. Such a server lets several be active.
var ErrUnconditional = errors.New("the server does not keep to conditional writes, so it cannot hold a lock; use another")

// Open returns a Locker on the object. It connects when it is first used.
func Open(_ context.Context, c Config) (lock.Locker, error) {
	s, err := newStore(c)
	if err == nil {
		return object.Open(s, limit), nil
	}
	return nil, err
}

// Dial is Open for a process that only looks and asks. Where there are no credentials it fails at once: nobody waits for
// them there.
func Dial(ctx context.Context, c Config) (lock.Locker, error) {
	s, err := newStore(c)
	if err != nil {
		return nil, err
	}
	l := object.Open(s, limit)
	select {
	case <-s.ready:
	case <-ctx.Done():
		return nil, errors.Join(context.Cause(ctx), l.Close())
	}
	if as, why := s.who(); as.AccessKeyID == "" {
		return nil, errors.Join(lock.Permanent(why), l.Close())
	}
	return l, nil
}

// limit is how many bytes an object may have. S3 takes far more; but every write and every read of news is all of it.
const limit = 1 << 20

// A store is the object, and one beside it which counts how often the first was made.
type store struct {
	*wire
	key, start string

	test   sync.Mutex
	obeys  bool          // the server has shown that it does
	asking chan struct{} // closed when that is over; nil: nobody asks
	failed error         // what asking failed with last
}

var _ object.Object = (*store)(nil)

func newStore(c Config) (*store, error) {
	key := cmp.Or(c.Object, DefaultObject)
	w, err := newWire(c)
	return &store{wire: w, key: key, start: key + ".start"}, err
}

// Get is object.Object's.
func (s *store) Get(ctx context.Context) (object.Value, error) {
	v, _, err := s.get(ctx, s.key, "")
	return v, err
}

// get reads an object, unless it is of the version that is known: then the Value has no data.
func (s *store) get(ctx context.Context, key, known string) (v object.Value, now time.Time, err error) {
	head := http.Header{}
	if known != "" {
		head.Set("If-None-Match", known)
	}
	a, err := s.do(ctx, http.MethodGet, key, nil, head, nil)
	switch {
	case is(err, "NoSuchKey"):
		return v, a.date, nil
	case err != nil:
		return v, a.date, err
	case a.status == http.StatusNotModified:
		return object.Value{Version: known}, a.date, nil
	case a.etag == "":
		return v, a.date, lock.Permanent(errors.New("the server's answer has no ETag, so it cannot hold a lock; use another"))
	}
	return object.Value{Data: a.body, Version: a.etag}, a.date, nil
}

// Put is object.Object's. Before the first one of a process the server has shown that it obeys conditions.
func (s *store) Put(ctx context.Context, data []byte, version string) (object.Value, error) {
	if err := s.conditions(ctx); err != nil {
		return object.Value{}, err
	}
	return s.put(ctx, s.key, data, version)
}

// put writes an object on a condition. 412 says that it does not hold, 409 that another write was in the way, and
// NoSuchKey that the object was deleted: each time nothing was written.
func (s *store) put(ctx context.Context, key string, data []byte, version string) (v object.Value, err error) {
	head := http.Header{"Content-Type": {"application/json"}}
	if version == "" {
		head.Set("If-None-Match", "*")
	} else {
		head.Set("If-Match", version)
	}
	a, err := s.do(ctx, http.MethodPut, key, nil, head, data)
	if is(err, "PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey") {
		return v, object.ErrConflict
	}
	if err == nil && a.etag == "" {
		err = errors.New("the server's answer to a PUT has no ETag")
	}
	return object.Value{Data: data, Version: a.etag}, err
}

// conditions returns nil once the server has refused what it must. The question belongs to no call, because a far server
// takes longer than a call does.
func (s *store) conditions(ctx context.Context) error {
	s.test.Lock()
	if s.obeys || s.ctx.Err() != nil { // nothing is written then
		s.test.Unlock()
		return context.Cause(s.ctx)
	}
	if s.asking == nil {
		over := make(chan struct{})
		s.asking = over
		s.group.Go(func() {
			err := s.ask(s.ctx)
			s.test.Lock()
			defer s.test.Unlock()
			s.obeys, s.failed, s.asking = err == nil, err, nil
			close(over)
		})
	}
	over := s.asking
	s.test.Unlock()
	select {
	case <-over:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-s.ctx.Done():
		return errClosed
	}
	s.test.Lock()
	defer s.test.Unlock()
	return s.failed
}

// nobodys is a version that no object has.
const nobodys = `"00000000000000000000000000000000"`

// ask makes the object beside ours, which must not succeed twice, and replaces a version that is not there, which must
// not succeed at all.
func (s *store) ask(ctx context.Context) error {
	_, err := s.put(ctx, s.start, []byte("0"), "")
	if err == nil { // it was not there
		_, err = s.put(ctx, s.start, []byte("0"), "")
	}
	header := "If-None-Match"
	if errors.Is(err, object.ErrConflict) {
		header = "If-Match"
		_, err = s.put(ctx, s.start, []byte("0"), nobodys)
	}
	switch {
	case err == nil:
		return lock.Permanent(lock.InFields(fmt.Errorf("%w (%s wrote whatever %s said)", ErrUnconditional, s.server, header), "Endpoint"))
	case errors.Is(err, object.ErrConflict):
		return nil
	}
	return err
}

// step is how much a count begins above the last at least, should the server's clock be turned back. In microseconds it
// is an hour and a quarter.
const step = 1 << 32

// Start is object.Object's: microseconds since 1970 by the server's clock, which nobody's commands overtake, and always
// more than the last time, which the object beside ours remembers.
func (s *store) Start(ctx context.Context) (uint64, error) {
	if err := s.conditions(ctx); err != nil {
		return 0, err
	}
	for {
		v, now, err := s.get(ctx, s.start, "")
		if err != nil {
			return 0, err
		}
		var last uint64
		if v.Version != "" {
			if last, err = strconv.ParseUint(string(v.Data), 10, 53); err != nil {
				return 0, lock.Permanent(lock.InFields(fmt.Errorf("%w: %s holds %.40q, and not a number; remove it, or name another object", object.ErrForeign, s.start, v.Data), "Object"))
			}
		}
		if now.IsZero() {
			return 0, errors.New("the server's answer has no date")
		}
		next := max(uint64(now.UnixMicro()), last+step)
		_, err = s.put(ctx, s.start, strconv.AppendUint(nil, next, 10), v.Version)
		if !errors.Is(err, object.ErrConflict) {
			return next, err
		}
	}
}

// ReadsPerTTL is how often a process that watches reads the object within the shortest ttl in it. A change of it is seen
// that much later at most, or leastPoll.
const ReadsPerTTL = 20

const (
	polls     = ReadsPerTTL / 4 // within a quarter, which is how long a call waits
	leastPoll = 20 * time.Millisecond
)

// Changed is object.Object's. S3 sends no news, so it polls. An answer without news carries no data. The call's
// deadline is a quarter of the shortest ttl away.
func (s *store) Changed(ctx context.Context, version string) (object.Value, error) {
	pause := time.Second
	if until, ok := ctx.Deadline(); ok {
		pause = time.Until(until) / polls
	}
	for {
		select {
		case <-time.After(max(pause, leastPoll)):
		case <-ctx.Done():
			return object.Value{}, context.Cause(ctx)
		case <-s.ctx.Done():
			return object.Value{}, errClosed
		}
		v, _, err := s.get(ctx, s.key, version)
		if err != nil || v.Version != version {
			return v, err
		}
	}
}

// Inspect returns HOST:PORT of the server, if it answers.
func Inspect(ctx context.Context, c Config) (address string, err error) {
	c.Logger = nil
	s, err := newStore(c)
	if err == nil {
		_, err = s.Get(ctx)
		address = c.Hosts()[0]
		err = errors.Join(err, s.Close())
	}
	return address, err
}

var errClosed = errors.New("the locker is closed")

// Close is object.Object's. It may be repeated.
func (s *store) Close() error {
	s.test.Lock() // nothing begins after it
	s.cancel(errClosed)
	s.test.Unlock()
	s.group.Wait()
	s.base.CloseIdleConnections()
	return nil
}
