package object

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	jitter "math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/understudy-ha/understudy/backends/ledger"
	"github.com/understudy-ha/understudy/lock"
)

// A call is one command that waits for a write.
type call struct {
	ctx     context.Context
	command ledger.Command
	done    chan struct{}
	result  ledger.Result
	err     error
}

// Propose has one command take effect. Those that come while a write is on its way go into the
// next one together.
func (s *store) Propose(ctx context.Context, c ledger.Command) (ledger.Result, error) {
	one := &call{ctx: ctx, command: c, done: make(chan struct{})}
	s.mu.Lock()
	s.waiting = append(s.waiting, one)
	s.mu.Unlock()
	s.next()
	select {
	case <-one.done:
		return one.result, one.err
	case <-ctx.Done():
		select {
		case <-one.done: // its write was given up with it, and says what it waited for
			return one.result, one.err
		case <-time.After(lastWord):
			return ledger.Result{}, s.late(ctx)
		}
	case <-s.ctx.Done():
		return ledger.Result{}, errClosed
	}
}

// lastWord is how long a call whose time is over waits for its write to say why.
const lastWord = 20 * time.Millisecond

// next begins a write with all calls that wait, if none is on its way. While the store refuses each
// call at once it waits, and so do they.
func (s *store) next() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy || len(s.waiting) == 0 || s.ctx.Err() != nil {
		return
	}
	s.busy = true
	s.group.Go(func() {
		s.yield()
		if s.gate.Wait(s.ctx) != nil {
			return
		}
		s.mu.Lock()
		calls := s.waiting
		s.waiting = nil
		s.mu.Unlock()
		s.begin(calls)
	})
}

// A burst is a number of writes that each began as soon as the one before it had ended.
type burst struct {
	writes int           // since its last pause
	pause  time.Duration // its last one
	ended  time.Time     // when its last write did
}

// longestBurst is how many writes of one process follow each other without a pause.
const longestBurst = 8

// yield pauses within a burst, so that other processes can write. Each write is conditional on the one
// before it, so a process that writes all the time overtakes all that are farther away from the store.
// Nobody knows how far away they are: the pauses double while the burst lasts.
func (s *store) yield() {
	most := s.most() // less than a try: the role that this process may hold comes first
	s.mu.Lock()
	b, rest := &s.burst, time.Duration(0)
	switch b.writes++; {
	case time.Since(b.ended) > max(s.trip, time.Millisecond):
		*b = burst{writes: 1}
	case b.writes > longestBurst:
		b.writes, b.pause = 1, min(max(2*b.pause, 2*s.trip), longestPause, most)
		rest = b.pause
	}
	s.mu.Unlock()
	if rest > 0 {
		pause(s.ctx, rest)
	}
}

// leastHedge is how long a write is waited for at least, before the next calls go on their way in
// a write of their own: a connection may be dead.
const leastHedge = 50 * time.Millisecond

func (s *store) begin(calls []*call) {
	s.mu.Lock()
	hedge := max(leastHedge, 2*s.trip)
	s.mu.Unlock()
	free := sync.OnceFunc(func() {
		s.mu.Lock()
		s.busy, s.burst.ended = false, time.Now()
		s.mu.Unlock()
		s.next()
	})
	defer free()
	timer := time.AfterFunc(hedge, free)
	defer timer.Stop()
	ctx, cancel := context.WithCancelCause(s.ctx)
	defer cancel(nil)
	left := atomic.Int64{} // who waits still
	left.Store(int64(len(calls)))
	for _, c := range calls {
		defer context.AfterFunc(c.ctx, func() {
			if left.Add(-1) == 0 {
				cancel(context.Cause(c.ctx))
			}
		})()
	}
	s.write(ctx, calls)
}

// A draft is a write that is to be made: base with calls applied to it.
type draft struct {
	base    Value
	fresh   bool   // base was read after the calls were made
	since   uint64 // base's revision
	id      string
	calls   []*call
	next    record
	data    []byte
	results []ledger.Result
	sent    bool // once at least, and nobody knows with what outcome
	back    bool // base is older than what had been seen
}

// write has calls take effect in one conditional write. On a conflict it is made anew on what is
// there; after an error what is there says what became of it.
func (s *store) write(ctx context.Context, calls []*call) {
	d := &draft{base: s.sight().value}
	for tries := 0; ; tries++ {
		if d.base.Version == "" && !d.fresh {
			v, err := s.object.Get(ctx)
			if err != nil {
				answer(calls, nil, err)
				return
			}
			d.base, d.fresh = v, true
		}
		if d.data == nil {
			if calls = alive(calls); len(calls) == 0 {
				return
			}
			done, err := s.prepare(ctx, d, calls)
			if done && !d.fresh { // by what was known before they were made
				d.base, d.data = Value{}, nil
				continue
			}
			if errors.Is(err, ErrTooLarge) && len(calls) > 1 {
				for i := range calls {
					s.write(ctx, calls[i:i+1])
				}
				return
			}
			if done || err != nil {
				answer(calls, d.results, err)
				return
			}
		}
		if ctx.Err() != nil {
			answer(calls, nil, s.late(ctx))
			return
		}
		before, begun := s.sight(), time.Now()
		now, err := s.object.Put(ctx, d.data, d.base.Version)
		s.took(time.Since(begun), err)
		if err == nil {
			from := written
			if d.since < before.top.Revision {
				from = proven
			}
			s.publish(d, Value{d.data, now.Version, now.Era}, d.next.Ledger, before, from)
			return
		}
		if errors.Is(err, lock.ErrPermanent) {
			answer(d.calls, nil, err)
			return
		}
		if conflict := errors.Is(err, ErrConflict); !conflict {
			d.sent = true
		}
		if !s.settle(ctx, d, now, before, err) {
			return
		}
		if tries == 0 || tries%2 == 1 { // mostly there is one other; after a pause the conflict tells what stands now
			continue
		}
		pause(ctx, jitter.N(min(s.lastTrip()<<min(tries+2, 6), longestPause)))
		if d.data == nil { // others went on meanwhile
			d.base, d.fresh = s.later(d), false
		}
	}
}

// longestPause bounds how long a write that met others waits until it is made again.
const longestPause = 100 * time.Millisecond

// later is what stands now, as far as is known. It is nothing where nobody watches, and what was
// told where that is older than what had been seen: only a write on it shows whether it stands.
func (s *store) later(d *draft) Value {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case d.back:
		return d.base
	case s.watched:
		return s.seen.value
	}
	return Value{}
}

// alive are the calls that somebody waits for.
func alive(calls []*call) (all []*call) {
	for _, c := range calls {
		if c.ctx.Err() == nil {
			all = append(all, c)
		}
	}
	return all
}

// prepare applies the calls to the draft's base. done: nothing is to be written.
func (s *store) prepare(ctx context.Context, d *draft, calls []*call) (done bool, err error) {
	r := record{Ledger: absent()}
	if d.base.Version != "" {
		if r, err = decode(d.base.Data); err != nil {
			return false, err
		}
	} else if names(calls) {
		if r.Ledger.Revision, err = s.object.Start(ctx); err != nil {
			return false, err
		}
	}
	d.id, d.since, d.calls = rand.Text(), r.Ledger.Revision, calls
	if d.base.Version != "" && r.Era != d.base.Era { // beats are lost, perhaps, and tokens
		start, err := s.object.Start(ctx)
		if err != nil {
			return false, err
		}
		r.Ledger.Renew(max(d.since+1, start))
	}
	r.Era = d.base.Era
	d.next, d.results = r.next(d.id, calls)
	if d.next.Ledger.Identity == "" {
		for i := range d.results {
			d.results[i].Revision = absent().Revision
		}
		return true, nil
	}
	if others(d.results) {
		return true, nil
	}
	if reads(calls) {
		for i := range d.results { // of what was read, as nothing is written
			d.results[i].Revision, d.results[i].Epoch = d.since, s.sight().epoch
		}
		return true, nil
	}
	if d.data, err = json.Marshal(d.next); err != nil {
		return false, err
	}
	return false, fits(len(d.data), s.limit, calls)
}

// both says what a look failed with, and before it a write; once where they say the same.
func both(look, write error) error {
	if look.Error() == write.Error() {
		return write
	}
	return fmt.Errorf("%w, after %w", look, write)
}

// names reports whether one of the calls gives a ledger its identity. No other creates the object.
func names(calls []*call) bool {
	for _, c := range calls {
		if c.command.Name != "" && c.command.Identity == "" {
			return true
		}
	}
	return false
}

// others reports whether every result says that this is another ledger: there nothing is written.
func others(results []ledger.Result) bool {
	for _, r := range results {
		if r.Code != ledger.OtherStore {
			return false
		}
	}
	return true
}

// reads reports whether every call only reads what people ask for: that also works where the store takes no writes.
func reads(calls []*call) bool {
	return !slices.ContainsFunc(calls, func(c *call) bool { return c.command.Op != ledger.History })
}

// settle finds out what became of a Put that failed, and whether it is to be made again: as it was,
// where it may still arrive, or on what is there now. now is what the store told, if it did.
func (s *store) settle(ctx context.Context, d *draft, now Value, before sight, why error) (again bool) {
	if now.Version == "" {
		err := s.gate.Wait(ctx)
		if err == nil {
			now, err = s.object.Get(ctx)
		}
		if err != nil {
			answer(d.calls, nil, both(err, why))
			return false
		}
	}
	if d.sent && now.Era == d.base.Era && (now.Version == d.base.Version || now.Version == "") {
		return true // it has not arrived yet, if it ever will; or this is a copy without a value
	}
	r := record{Ledger: absent()}
	if now.Version != "" {
		var err error
		if r, err = decode(now.Data); err != nil {
			answer(d.calls, nil, err)
			return false
		}
		did, known := r.wrote(d.id, d.since)
		switch {
		case did:
			s.publish(d, now, r.Ledger, before, written)
			return false
		case d.sent && now.Era == d.base.Era && r.Ledger.Identity == d.next.Ledger.Identity && r.Ledger.Revision < d.since: // an old copy says nothing
			return true
		case d.sent && !known:
			answer(d.calls, nil, fmt.Errorf("%w; since then there were more writes than the object names", why))
			return false
		}
	}
	d.back, _ = s.take(now, r.Ledger, before, written)
	d.base, d.fresh, d.data, d.sent = now, true, nil, false
	return true
}

// took notes how long a write takes that is answered.
func (s *store) took(trip time.Duration, err error) {
	if err == nil || errors.Is(err, ErrConflict) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.trip = trip
	}
}

// publish makes known what stands there, with the draft's calls in it, and answers them.
func (s *store) publish(d *draft, v Value, l *ledger.Ledger, before sight, from source) {
	_, epoch := s.take(v, l, before, from)
	for i := range d.results {
		d.results[i].Epoch = epoch
	}
	answer(d.calls, d.results, nil)
}

func (s *store) lastTrip() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return max(s.trip, time.Millisecond)
}

// answer ends calls. results is nil where err is not.
func answer(calls []*call, results []ledger.Result, err error) {
	for i, c := range calls {
		if c.err = err; err == nil {
			c.result = results[i]
		}
		close(c.done)
	}
}
