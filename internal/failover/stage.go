package failover

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/internal/lab/process"
	"github.com/understudy-ha/understudy/lock"
)

// A stage is the contenders of one store, and what they wrote.
type stage struct {
	site    *site
	name    string // of the stage: a space of names in the store
	config  coordinator.Config
	witness bool
	roles   int // see Contender
	ids     []string
	network *network
	client  lock.Locker
	procs   map[string]*contender

	mu      sync.Mutex
	changed chan struct{} // closed with every line
	inLine  map[string]bool
	ended   map[string]bool // contenders whose process is gone
	terms   []*term
	told    []notice
	granted map[lock.Token]time.Duration
	calls   map[string][]int64 // as often as it was asked
}

// A contender's process; done is closed when it is gone and its last line is taken.
type contender struct {
	*process.Process
	log  string
	done chan struct{}
}

// A term is what one work stamped.
type term struct {
	id                        string
	token                     lock.Token
	start, success, last, end time.Duration // zero: not said
	stamps                    []time.Duration
}

// A notice is when somebody was told something.
type notice struct {
	id    string
	token lock.Token // zero: that the role can be taken
	at    time.Duration
}

func newStage(ctx context.Context, s *site, name string, c coordinator.Config, ids []string) (*stage, error) {
	st := &stage{
		site: s, name: name, config: c, ids: ids, procs: map[string]*contender{},
		changed: make(chan struct{}), inLine: map[string]bool{}, ended: map[string]bool{}, granted: map[lock.Token]time.Duration{}, calls: map[string][]int64{},
	}
	var err error
	if st.network, err = s.connect(ids); err != nil {
		return nil, err
	}
	if s.backend.Dial == nil {
		return st, nil
	}
	if st.client, err = s.backend.Dial(ctx, name, st.network.outside); err != nil {
		return nil, errors.Join(err, st.network.close())
	}
	return st, nil
}

// beginnings is how often a stage is begun anew. A node of embedded Raft that comes late
// to the beginning is let in only by its address, and here each node has another for it,
// so that every way can be cut by itself. On a busy machine a contender may come too late
// for its own promise, and ends.
const beginnings = 5

// startAll starts every contender and waits until one works and the others stand by.
func (s *stage) startAll(ctx context.Context) (err error) {
	for range beginnings {
		if err = s.startEach(ctx); err == nil || ctx.Err() != nil {
			return err
		}
		s.endAll()
		err = errors.Join(err, os.RemoveAll(filepath.Join(s.site.dir, s.name)))
	}
	return err
}

func (s *stage) startEach(ctx context.Context) error {
	for _, id := range s.ids {
		if s.procs[id] == nil {
			if err := s.start(id); err != nil {
				return err
			}
		}
	}
	return s.ready(ctx)
}

// start starts one contender.
func (s *stage) start(id string) error {
	dir := filepath.Join(s.site.dir, s.name, id)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	cmd, err := s.site.backend.Command(Contender{
		ID: id, Dir: dir, Space: s.name, Addresses: s.network.reach[id], Bind: s.network.bind[id],
		Servers: s.site.cluster, TTL: s.config.TTL, Roles: s.roles, Witness: s.witness,
	})
	if err != nil {
		return err
	}
	p := &contender{log: filepath.Join(dir, "log"), done: make(chan struct{})}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	cmd.Stderr = log
	s.mu.Lock()
	delete(s.ended, id)
	s.mu.Unlock()
	if p.Process, err = process.Start(cmd, func(line string) { s.take(id, line) }); err != nil {
		return err
	}
	s.procs[id] = p
	go func() {
		p.Drain()
		_ = p.Wait() // its log says how it ended
		s.take(id, "exit 0 0")
		close(p.done)
	}()
	return nil
}

// take notes one line of a contender.
func (s *stage) take(id, line string) {
	fields := strings.Fields(line)
	if len(fields) != 3 {
		return
	}
	number, err := strconv.ParseUint(fields[1], 10, 64)
	nanoseconds, bad := strconv.ParseInt(fields[2], 10, 64)
	if err != nil || bad != nil {
		return
	}
	what, token, at := fields[0], lock.Token(number), time.Duration(nanoseconds)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch what {
	case "standby":
		s.inLine[id] = true
	case "out":
		delete(s.inLine, id)
	case "exit":
		delete(s.inLine, id)
		s.ended[id] = true
	case "told":
		s.told = append(s.told, notice{id, 0, at})
	case "seen":
		s.told = append(s.told, notice{id, token, at})
	case "granted":
		s.granted[token] = at
	case "calls":
		s.calls[id] = append(s.calls[id], int64(token))
	default:
		s.stamp(id, what, token, at)
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *stage) stamp(id, what string, token lock.Token, at time.Duration) {
	i := slices.IndexFunc(s.terms, func(t *term) bool { return t.id == id && t.token == token })
	if i < 0 {
		i, s.terms = len(s.terms), append(s.terms, &term{id: id, token: token, start: at})
	}
	switch t := s.terms[i]; what {
	case "stamp":
		t.last, t.stamps = max(t.last, at), append(t.stamps, at)
	case "success":
		t.success = at
	case "end":
		t.end = at
	}
}

// forget drops what was before the last term. It reports whether that is one's: lines of
// several contenders come in any order, and the role may have moved.
func (s *stage) forget(one term) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := s.last()
	last.stamps = nil // there are some for every moment since the last run
	s.told, s.terms = nil, []*term{last}
	return last.token == one.token
}

// until waits until f is true. It is called with the stage locked.
func (s *stage) until(ctx context.Context, what string, f func() bool) error {
	for {
		s.mu.Lock()
		done, changed := f(), s.changed
		s.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%s: waiting for %s: %w", s.name, what, context.Cause(ctx))
		}
	}
}

// after is the first term with a greater token that had success.
func (s *stage) after(token lock.Token) *term {
	for _, t := range s.terms {
		if t.token > token && t.success != 0 {
			return t
		}
	}
	return nil
}

// last is the term with the greatest token, or nil.
func (s *stage) last() *term {
	if len(s.terms) == 0 {
		return nil
	}
	return slices.MaxFunc(s.terms, func(a, b *term) int { return int(int64(a.token) - int64(b.token)) })
}

// ready waits until one works and all others stand by. A contender that has ended
// will not.
func (s *stage) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 4*s.config.TTL+30*time.Second)
	defer cancel()
	ended := ""
	err := s.until(ctx, "one active and the others in line", func() bool {
		for _, id := range s.ids {
			if s.ended[id] {
				ended = id
				return true
			}
		}
		t := s.last()
		return t != nil && t.success != 0 && t.end == 0 && s.inLine[t.id] && len(s.inLine) == len(s.ids)
	})
	if err == nil && ended != "" {
		err = fmt.Errorf("%s: %s has ended", s.name, ended)
	}
	if err != nil {
		return fmt.Errorf("%w%s%s", err, s.state(), s.logs())
	}
	return nil
}

// state says what the contenders said last.
func (s *stage) state() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	who := "nobody"
	if t := s.last(); t != nil {
		who = fmt.Sprintf("%s (token %d, ended: %t)", t.id, t.token, t.end != 0)
	}
	return fmt.Sprintf("; in line: %v, active: %s", slices.Sorted(maps.Keys(s.inLine)), who)
}

// logs is the end of what contenders complained of.
func (s *stage) logs() string {
	var all strings.Builder
	for _, id := range s.ids {
		if p := s.procs[id]; p != nil {
			text, _ := os.ReadFile(p.log)
			if lines := strings.Split(strings.TrimSpace(string(text)), "\n"); lines[0] != "" {
				fmt.Fprintf(&all, "\n\t%s: %s", id, strings.Join(lines[max(0, len(lines)-5):], "\n\t"))
			}
		}
	}
	return all.String()
}

// active is a copy of the last term.
func (s *stage) active() term {
	s.mu.Lock()
	defer s.mu.Unlock()
	return *s.last()
}

// signal sends a signal and returns the moment just before.
func (s *stage) signal(id string, sig syscall.Signal) time.Duration {
	at := coordinator.Clocks().Mono
	_ = s.procs[id].Signal(sig) // one that has ended is seen where it is waited for
	return at
}

// end ends a contender for sure and waits until it is gone.
func (s *stage) end(id string) {
	if p := s.procs[id]; p != nil {
		_ = p.Signal(syscall.SIGKILL)
		<-p.done
		delete(s.procs, id)
	}
}

// endAll ends every contender, and nobody is active.
func (s *stage) endAll() {
	for _, id := range s.ids {
		s.end(id)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told, s.terms = nil, nil
}

// revive starts again what has ended or is about to.
func (s *stage) revive(ctx context.Context, id string) error {
	s.end(id)
	if err := s.start(id); err != nil {
		return err
	}
	return s.ready(ctx)
}

// reset ends everything and starts it anew.
func (s *stage) reset(ctx context.Context) error {
	s.network.delay(0)
	for _, id := range s.ids {
		s.network.cut(id, false)
	}
	s.endAll()
	return s.startAll(ctx)
}

// close leaves no contender behind.
func (s *stage) close() {
	s.endAll()
	if s.client != nil {
		_ = s.client.Close()
	}
	_ = s.network.close()
}
