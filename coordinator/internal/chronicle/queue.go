package chronicle

import (
	"context"
	"sync"

	"github.com/understudy-ha/understudy/lock"
)

// tries is the most times that an event is written.
const tries = 5

// An entry is a queued event.
type entry struct {
	role  string
	event lock.Event
	tried int
}

// A Queue has the events that wait to be written. The zero Queue is not valid. It is safe for
// concurrent use, and putting something in never waits for a writer.
type Queue struct {
	turn chan struct{} // held by the writer

	mu      sync.Mutex
	most    int
	entries []entry
	dropped uint64
}

// NewQueue returns a Queue with room for most events.
func NewQueue(most int) *Queue { return &Queue{turn: make(chan struct{}, 1), most: most} }

// Put queues an event. If there is no room it is dropped.
func (q *Queue) Put(role string, e lock.Event) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.entries) == q.most {
		q.dropped++
		return
	}
	q.entries = append(q.entries, entry{role: role, event: e})
}

// Len is the number of queued events.
func (q *Queue) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.entries)
}

// Dropped is how many events were dropped.
func (q *Queue) Dropped() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.dropped
}

// Write writes the queued events, one after another, until none is left, or one gets no answer:
// that one is tried again when Write is called again, a few times. If another Write is going on,
// it waits for that, but no longer than ctx lasts; without waits it returns.
func (q *Queue) Write(ctx context.Context, waits bool, record func(ctx context.Context, role string, e lock.Event) error) {
	if !q.takeTurn(ctx, waits) {
		return
	}
	defer func() { <-q.turn }()
	for ctx.Err() == nil {
		one, ok := q.first()
		if !ok {
			return
		}
		err := record(ctx, one.role, one.event)
		if again := q.wrote(lock.OutcomeOf(err)); again {
			return
		}
	}
}

func (q *Queue) takeTurn(ctx context.Context, waits bool) bool {
	select {
	case q.turn <- struct{}{}:
		return true
	default:
	}
	if !waits {
		return false
	}
	select {
	case q.turn <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (q *Queue) first() (entry, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.entries) == 0 {
		return entry{}, false
	}
	return q.entries[0], true
}

// wrote takes the first event out, unless it is to be tried again.
func (q *Queue) wrote(o lock.Outcome) (again bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.entries) == 0 { // dropped meanwhile
		return true
	}
	one := &q.entries[0]
	one.tried++
	if o != lock.OK {
		if o != lock.Refused && one.tried < tries {
			return true
		}
		q.dropped++
	}
	q.entries = q.entries[1:]
	return false
}

// Drop drops the queued events.
func (q *Queue) Drop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.dropped += uint64(len(q.entries))
	q.entries = nil
}
