package state

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/fencing"
	"github.com/understudy-ha/understudy/lock"
)

// room is what of an entry is kept for all but its commands.
const room = 4 << 10

// most is how many commands one entry has at most: their sizes are in that room.
const most = 256

// Append appends a command to the log. It returns nil only if the command is committed, the term
// stood in that very commit, and this process has applied it. A *fencing.StaleError: the term is
// over, and the command is not in the log. ErrUnknown: it may be, or may still come there. A
// *PanicError: the machine panicked in the commit of this command, and the term ends. After any
// other error the command is not in the log, as where it is larger than the store takes, or the log
// is full because no snapshot could be made. Calls at the same time share commits. t is a term whose
// work was called by Work.
func (l *Log[M]) Append(ctx context.Context, t coordinator.Term, command []byte) error {
	if n := l.limits.Write - room; len(command) > n {
		return lock.Permanent(fmt.Errorf("state: a command of %d bytes, the limit is %d in this store", len(command), n))
	}
	l.mu.RLock()
	w := l.writer
	l.mu.RUnlock()
	if t.Role != l.role || w == nil || w.term.Token != t.Token {
		return fmt.Errorf("state: append: no work of this term runs here: %w", &fencing.StaleError{Role: t.Role, Token: t.Token, Current: t.Token})
	}
	r := &request{command: bytes.Clone(command), done: make(chan error, 1)}
	if err := w.add(r); err != nil {
		return fmt.Errorf("state: append: %w", err)
	}
	select {
	case err := <-r.done:
		return wrapped(err)
	case <-ctx.Done():
	}
	if w.remove(r) {
		return fmt.Errorf("state: append: %w", context.Cause(ctx))
	}
	select {
	case err := <-r.done:
		return wrapped(err)
	default:
	}
	return fmt.Errorf("state: append: %w: %w", ErrUnknown, context.Cause(ctx))
}

func wrapped(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("state: append: %w", err)
}

// Work returns work with the barrier before it: it is called once everything that was ever
// acknowledged has been applied here, and nothing of an earlier term can follow. It is for
// coordinator.Run. The work's context also ends if the log fails, for example by a *PanicError,
// which is then what the work is said to have returned.
func (l *Log[M]) Work(work coordinator.Work) coordinator.Work {
	return func(ctx context.Context, t coordinator.Term) error {
		if t.Role != l.role {
			return lock.Permanent(fmt.Errorf("state: the log is of role %q, the term of role %q", l.role, t.Role))
		}
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		w := &writer[M]{log: l, term: t, news: make(chan struct{}, 1), failed: cancel}
		if err := w.begin(ctx); err != nil {
			return fmt.Errorf("state: begin term %d of role %q: %w", t.Token, t.Role, err)
		}
		defer w.end(w.start(ctx))
		err := work(ctx, t)
		if failed := w.fails(); failed != nil && (err == nil || errors.Is(err, context.Cause(ctx))) {
			return fmt.Errorf("state: %w", failed)
		}
		return err
	}
}

// A request is one Append.
type request struct {
	command []byte
	done    chan error
}

// A writer writes the log in one term: one commit after the other, from one goroutine.
type writer[M Machine] struct {
	log  *Log[M]
	term coordinator.Term

	head head   // as it is in the store
	raw  []byte // that record; nil: there is none

	image  []byte // the snapshot that is being written; nil: none is
	chunks int    // of it that are written
	before int    // bytes of entries that are in it
	later  int    // how many bytes of entries there must be for the next try

	failed context.CancelCauseFunc // ends the work

	mu     sync.Mutex
	queue  []*request
	over   error // why nothing is written any more
	closed bool
	news   chan struct{}
}

// begin is the barrier: it applies everything, commits the term's marker where nothing has come
// between, and applies that.
func (w *writer[M]) begin(ctx context.Context) error {
	for ctx.Err() == nil {
		all, err := w.log.step(ctx)
		w.term.Progress()
		if err == nil && all {
			err = w.mark(ctx)
			if err == nil {
				return nil
			}
		}
		var stale *fencing.StaleError
		if isFinal(err) || errors.As(err, &stale) {
			return err
		}
		if err != nil {
			pause(ctx, retry)
		}
	}
	return context.Cause(ctx)
}

// mark commits the marker. What an earlier term has left half done is named as trash.
func (w *writer[M]) mark(ctx context.Context) error {
	r := w.log.replica
	w.head, w.raw = r.head, r.raw
	next := w.head
	next.Skip = r.skip
	next.Trash = slices.Clone(next.Trash)
	if next.Writing.Position > 0 {
		next.Trash, next.Writing = append(next.Trash, next.Writing), image{}
	}
	return w.write(ctx, nil, next)
}

// write commits an entry after the last one, and applies it.
func (w *writer[M]) write(ctx context.Context, commands [][]byte, next head) error {
	e := newEntry(w.term.Token, w.head.Link, commands)
	value := e.encode()
	next.Last, next.Link, next.Bytes = w.head.Last+1, e.Nonce, w.head.Bytes+len(value)
	began := w.log.options.Now()
	if err := w.commit(ctx, map[string][]byte{w.log.keys.entry(next.Last): value}, &next); err != nil {
		return err
	}
	if err := w.log.apply(next.Last, e); err != nil {
		return err
	}
	w.log.know(w.head, w.raw, began)
	return nil
}

// start begins to serve Append.
func (w *writer[M]) start(ctx context.Context) (stop func()) {
	w.log.mu.Lock()
	w.log.writer = w
	w.log.tellAge()
	w.log.mu.Unlock()
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx)) // the work may append until it has returned
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		w.run(ctx)
	}()
	return func() { cancel(); <-ended }
}

// end ends that: when it returns, nothing of the term is on its way from here.
func (w *writer[M]) end(stop func()) {
	w.log.mu.Lock()
	w.log.writer = nil
	w.log.tellAge()
	w.log.mu.Unlock()
	stop()
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.answer(w.take(0), w.stale(w.term.Token))
}

func (w *writer[M]) stale(current lock.Token) error {
	return &fencing.StaleError{Role: w.log.role, Token: w.term.Token, Current: current}
}

// fails is why nothing is written any more; nil: all is well.
func (w *writer[M]) fails() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.over
}

func (w *writer[M]) add(r *request) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over != nil {
		return w.over
	}
	if w.closed {
		return w.stale(w.term.Token)
	}
	w.queue = append(w.queue, r)
	select {
	case w.news <- struct{}{}:
	default:
	}
	return nil
}

// remove takes a request back, unless it is being written.
func (w *writer[M]) remove(r *request) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := slices.Index(w.queue, r)
	if i < 0 {
		return false
	}
	w.queue = slices.Delete(w.queue, i, i+1)
	return true
}

// take takes as many requests as fit in so many bytes; 0: all.
func (w *writer[M]) take(size int) (all []*request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for n := 0; len(w.queue) > 0; w.queue = w.queue[1:] {
		if n += len(w.queue[0].command); size > 0 && (n > size || len(all) == most) {
			break
		}
		all = append(all, w.queue[0])
	}
	return all
}

func (w *writer[M]) answer(all []*request, err error) {
	for _, r := range all {
		r.done <- err
	}
}

// run writes what is asked for, and between two entries something of the snapshot.
func (w *writer[M]) run(ctx context.Context) {
	for ctx.Err() == nil {
		batch := w.take(w.log.limits.Write - room)
		err := w.append(ctx, batch)
		if w.ends(err) {
			w.fail(err, batch)
			return
		}
		w.answer(batch, err)
		busy, err := w.compact(ctx)
		if w.ends(err) {
			w.fail(err, nil)
			return
		}
		if len(batch) == 0 && !busy {
			select {
			case <-w.news:
			case <-ctx.Done():
			}
		}
	}
}

// fail ends the work, because nothing can be written any more. It records why before it answers anybody: the work may
// return as soon as it has the answer, and Work must not take that for success.
func (w *writer[M]) fail(err error, batch []*request) {
	w.mu.Lock()
	w.over = err
	w.mu.Unlock()
	w.failed(err)
	w.answer(batch, err)
	w.answer(w.take(0), err)
}

// ends reports whether nothing can be written after an error.
func (w *writer[M]) ends(err error) bool {
	return errors.Is(err, fencing.ErrStale) || errors.Is(err, ErrUnknown) || errors.Is(err, errForeign) || panicked(err)
}

// panicked reports whether the machine panicked on a command. Where only its snapshot fails, the
// entries stay.
func panicked(err error) bool {
	var p *PanicError
	return errors.As(err, &p) && p.Command != (Command{})
}

// append writes one entry.
func (w *writer[M]) append(ctx context.Context, batch []*request) error {
	if len(batch) == 0 {
		return nil
	}
	var commands [][]byte
	size := room
	for _, r := range batch {
		commands, size = append(commands, r.command), size+len(r.command)
	}
	if err := w.makeRoom(ctx, size); err != nil {
		return err
	}
	err := w.write(ctx, commands, w.head)
	var p *PanicError
	if errors.As(err, &p) {
		p.Skipped = w.skip(ctx, p.Command) == nil
	}
	return err
}

// makeRoom ends a snapshot before a log goes on that is full.
func (w *writer[M]) makeRoom(ctx context.Context, size int) error {
	limit := w.log.limits.Total / 4
	full := func() bool { return w.head.Bytes+size > limit }
	if full() {
		w.later = 0
	}
	for busy := full(); busy && full(); {
		var err error
		if busy, err = w.compact(ctx); w.ends(err) {
			return err
		}
	}
	if full() {
		return lock.Permanent(fmt.Errorf("the log would have %d bytes after its last snapshot, the limit is %d in this store: %w", w.head.Bytes+size, limit, w.unsaved()))
	}
	return nil
}

// skip notes that nobody is to apply a command, which was not acknowledged.
func (w *writer[M]) skip(ctx context.Context, c Command) error {
	ctx, cancel := context.WithTimeout(ctx, 2*w.log.options.Try)
	defer cancel()
	next := w.head
	next.Skip = append(slices.Clone(next.Skip), c)
	return w.commit(ctx, map[string][]byte{}, &next)
}
