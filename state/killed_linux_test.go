package state_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backends"
	"github.com/understudy-ha/understudy/backends/raft"
	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/coordinator/witness"
	"github.com/understudy-ha/understudy/fencing"
	"github.com/understudy-ha/understudy/internal/lab"
	children "github.com/understudy-ha/understudy/internal/lab/process"
	"github.com/understudy-ha/understudy/internal/lab/servers"
	"github.com/understudy-ha/understudy/internal/lab/stores"
	"github.com/understudy-ha/understudy/lock"
	"github.com/understudy-ha/understudy/state"
)

var faults = flag.Int("faults", 12, "faults of TestKilled on each store")

// TestMain is also the contenders of TestKilled, and their witnesses.
func TestMain(m *testing.M) {
	witness.Main(backends.Beside)
	if text := os.Getenv("STATE_CONTENDER"); text != "" {
		var c contender
		if err := json.Unmarshal([]byte(text), &c); err != nil {
			panic(err)
		}
		if err := c.run(); err != nil {
			panic(err)
		}
		return
	}
	os.Exit(m.Run())
}

// A contender is a process that takes part in role "r", appends and reads.
type contender struct {
	Store backends.Config
	ID    string
	File  string // to which it writes what it does; "": it only ends the history, and shows the state
	Seed  uint64
	Lax   bool // it works on when it wakes too late: the store alone holds it back
}

// A note is a line of that file. Each call has one before it begins and one when it has ended: of a
// process that is killed in between nobody knows how it ended.
type note struct {
	Call         int
	Client       int
	Command      string
	Token        lock.Token
	Began, Ended time.Duration
	Err          string
	Seen         int
	Age          time.Duration
}

// kinds are the errors that the judge knows, as notes have them.
var kinds = map[string]error{
	"unknown": state.ErrUnknown, "stale": fencing.ErrStale, "late": context.DeadlineExceeded, "canceled": context.Canceled, "not loaded": state.ErrNotLoaded,
}

func kind(err error) string {
	if err == nil {
		return ""
	}
	if errors.Is(err, state.ErrUnknown) { // it may be late, too
		return "unknown"
	}
	for name, k := range kinds {
		if errors.Is(err, k) {
			return name
		}
	}
	return err.Error()
}

func newScroll() *scroll { return &scroll{} }

// run takes part until SIGTERM.
func (c contender) run() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	locker, err := backends.Open(ctx, c.Store)
	if err != nil {
		return err
	}
	defer locker.Close()
	log, err := state.Open(ctx, locker, "r", newScroll, state.Options{Every: 4000, Try: 500 * time.Millisecond})
	if err != nil {
		return err
	}
	var latest atomic.Pointer[coordinator.Term]
	work := func(ctx context.Context, t coordinator.Term) error {
		latest.Store(&t)
		if c.File == "" {
			return conclude(ctx, log, t)
		}
		<-ctx.Done()
		return nil
	}
	if c.File != "" {
		file, err := os.Create(c.File)
		if err != nil {
			return err
		}
		var calls atomic.Int64
		for i := range uint64(4) {
			go c.client(log, &latest, file, &calls, rand.New(rand.NewPCG(c.Seed, i)))
		}
	}
	hang := time.Duration(0) // the default
	if c.Lax {
		hang = -1
	}
	return coordinator.Run(ctx, locker, coordinator.Config{
		ID: c.ID, NoExit: c.Lax, HangTimeout: hang, Roles: []lock.Bid{{Role: "r"}}, TTL: 2 * time.Second, Witness: witness.New(c.Store),
		Standby: log.Standby, Ready: log.Ready, Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}, log.Work(work))
}

// conclude ends beside appends what is left half done, and shows the state.
func conclude(ctx context.Context, log *state.Log[*scroll], t coordinator.Term) error {
	for i := range 3 {
		if err := log.Append(ctx, t, fmt.Appendf(nil, "last %d", i)); err != nil {
			return err
		}
		time.Sleep(time.Second) // what is deleted is deleted beside appends
	}
	_, err := log.Read(func(m *scroll) { _ = json.NewEncoder(os.Stdout).Encode(m.All) })
	<-ctx.Done()
	return err
}

// client appends, in the latest term that this process had, be it over or not, and reads.
func (c contender) client(log *state.Log[*scroll], latest *atomic.Pointer[coordinator.Term], file io.Writer, calls *atomic.Int64, draw *rand.Rand) {
	for {
		n := note{Call: int(calls.Add(1)), Began: coordinator.Clocks().Mono}
		t, err := latest.Load(), error(nil)
		if t != nil && draw.IntN(2) == 0 {
			n.Command, n.Token = fmt.Sprintf("%s-%d", filepath.Base(c.File), n.Call), t.Token
			n.write(file)
			ctx, cancel := context.WithTimeout(context.Background(), time.Duration(draw.Int64N(int64(2*time.Second))))
			err = log.Append(ctx, *t, []byte(n.Command))
			cancel()
		} else {
			n.Age, err = log.Read(func(m *scroll) { n.Seen = len(m.All) })
		}
		n.Ended, n.Err = coordinator.Clocks().Mono, kind(err)
		n.write(file)
		time.Sleep(time.Duration(draw.Int64N(int64(50 * time.Millisecond)))) // so that a history can be judged
	}
}

func (n note) write(w io.Writer) {
	text, _ := json.Marshal(n)         // of numbers and texts
	_, _ = w.Write(append(text, '\n')) // a process that cannot write has done nothing
}

// A field is a store, and the contenders that are killed on it.
type field struct {
	*testing.T
	store  *stores.Store
	draw   *rand.Rand
	dir    string
	made   int
	far    map[string]*servers.Proxy // each contender's way to the store; none where that is inside
	living map[string]*children.Process
	files  []string
	lines  chan string

	mu     sync.Mutex
	holder string // "": nobody
	h      history
}

// TestKilled kills and stops processes that append and read on real stores, and the stores, and judges
// what they did as TestHistory does. It can miss that the fence or the barrier is gone: until the next term's
// marker is there it takes luck to meet the moment, and from then on the head's condition refuses the same. TestFence and
// TestBarrier make that moment.
func TestKilled(t *testing.T) {
	for _, name := range stores.Names {
		t.Run(name, func(t *testing.T) {
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			f := &field{
				T: t, draw: rand.New(rand.NewPCG(seed, 0)), dir: t.TempDir(), living: map[string]*children.Process{}, lines: make(chan string, 1), far: map[string]*servers.Proxy{},
				h: history{seed: seed, granted: map[lock.Token]time.Duration{}},
			}
			f.store = stores.Start(t, name, f.dir)
			ctx, stop := context.WithCancel(t.Context())
			var watching sync.WaitGroup
			watching.Go(func() { f.watch(ctx) })
			defer func() { stop(); watching.Wait() }()
			f.startAll(true)
			for range *faults {
				f.fault()
			}
			f.conclude()
			f.h.judge(t)
		})
	}
}

func (f *field) startAll(busy bool) {
	for _, id := range []string{"a", "b", "c"} {
		if p := f.living[id]; p == nil || p.Ended() {
			f.start(id, busy)
		}
	}
}

func (f *field) start(id string, busy bool) {
	c := contender{Store: f.store.Config, ID: id, Seed: f.draw.Uint64(), Lax: f.draw.IntN(2) == 0}
	if f.store.Cluster == nil {
		c.Store.Raft.ID, c.Store.Raft.Dir, c.Store.Raft.Timing = id, filepath.Join(f.dir, id), raft.TimingFor(2*time.Second)
	} else {
		c.Store.Row().Servers(&c.Store).Use([]string{f.way(id).Addr()})
	}
	f.made++
	if busy {
		c.File = filepath.Join(f.dir, fmt.Sprintf("%s%d", id, f.made))
		f.files = append(f.files, c.File)
	}
	p, err := children.Start(lab.Self(f, "STATE_CONTENDER", c), func(line string) { f.lines <- line })
	lab.Must(f, err)
	f.living[id] = p
	f.Cleanup(func() { p.End(syscall.SIGKILL, lab.Patience) })
}

// way is how a contender reaches the store: a call takes a third of what it may take, so that many are on their way
// when something happens.
func (f *field) way(id string) *servers.Proxy {
	if f.far[id] == nil {
		p, err := servers.StartProxy(f.store.Where)
		lab.Must(f, err)
		f.Cleanup(p.Close)
		p.Far(50*time.Millisecond, 30*time.Millisecond)
		f.far[id] = p
	}
	return f.far[id]
}

// watch records the latest time at which each term can have been granted.
func (f *field) watch(ctx context.Context) {
	l, err := backends.Dial(ctx, f.store.Config)
	if err != nil {
		f.Error(err)
		return
	}
	defer l.Close()
	for st, err := range l.Watch(ctx, "r") {
		if err != nil {
			continue
		}
		f.mu.Lock()
		if f.holder = st.Term.Holder.ID; st.Term.Vacant() {
			f.holder = ""
		}
		if _, known := f.h.granted[st.Term.Token]; !known {
			f.h.granted[st.Term.Token] = coordinator.Clocks().Mono
			f.h.terms++
		}
		f.mu.Unlock()
	}
}

func (f *field) active() (id string) {
	lab.Eventually(f, "an active", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		id = f.holder
		return id != "" && !f.living[id].Ended()
	})
	return id
}

func (f *field) pause(most time.Duration) { time.Sleep(time.Duration(f.draw.Int64N(int64(most)))) } // a fault may come at any time

// fault kills or stops a process, the active more often than others, or the store.
func (f *field) fault() {
	victim := f.active()
	f.pause(500 * time.Millisecond)
	if f.draw.IntN(3) == 0 {
		victim = []string{"a", "b", "c"}[f.draw.IntN(3)]
	}
	p := f.living[victim]
	switch kind := f.draw.IntN(10); {
	case kind == 0 && f.store.Cluster != nil:
		resume, err := f.store.Cluster.Pause()
		lab.Must(f, err)
		f.pause(3 * time.Second)
		lab.Must(f, resume())
	case kind == 1 && f.store.Cluster != nil:
		f.store.Cluster.Members[0].Kill()
		lab.Must(f, f.store.Cluster.Members[0].Restart(f.Context()))
	case kind < 4 && f.store.Cluster != nil:
		far := f.far[victim] // what was held back may arrive when another is active
		far.Hold(f.draw.IntN(2) == 0, true)
		f.pause(4 * time.Second)
		far.Hold(false, false)
	case kind < 4:
		_ = p.Signal(syscall.SIGTERM) // it may have ended
		<-p.Gone()
	case kind < 7:
		_ = p.Pause() // it may have ended, or its witness ends it
		f.pause(4 * time.Second)
		_ = p.Resume()
	default:
		_ = p.Signal(syscall.SIGKILL)
		<-p.Gone()
		f.h.kills++
	}
	f.startAll(true)
}

// conclude kills all, has others show the state, and reads what all have done.
func (f *field) conclude() {
	for _, p := range f.living {
		p.End(syscall.SIGKILL, lab.Patience)
	}
	f.startAll(false)
	select {
	case text := <-f.lines:
		lab.Must(f, json.Unmarshal([]byte(text), &f.h.final))
	case <-time.After(lab.Patience):
		f.Fatal("nobody shows the state")
	}
	l, err := backends.Dial(f.Context(), f.store.Config)
	lab.Must(f, err)
	defer l.Close()
	f.h.left, err = l.(lock.Values).Read(f.Context(), "state/")
	lab.Must(f, err)
	for _, file := range f.files {
		f.h.ops = append(f.h.ops, notes(f, file)...)
	}
}

// notes are the calls of one process.
func notes(t testing.TB, file string) (all []op) {
	text, err := os.Open(file)
	if errors.Is(err, os.ErrNotExist) { // it was killed before it did anything
		return nil
	}
	lab.Must(t, err)
	defer text.Close()
	calls := map[int]note{}
	for lines := bufio.NewScanner(text); lines.Scan(); {
		var n note
		if err := json.Unmarshal(lines.Bytes(), &n); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		calls[n.Call] = n
	}
	for _, n := range calls {
		o := op{command: n.Command, token: n.Token, began: n.Began, ended: n.Ended, seen: n.Seen, age: int(n.Age)}
		if o.err = kinds[n.Err]; o.err == nil && n.Err != "" {
			o.err = errors.New(n.Err)
		}
		if n.Ended == 0 {
			o.err = state.ErrUnknown
		}
		all = append(all, o)
	}
	slices.SortFunc(all, func(a, b op) int { return strings.Compare(a.command, b.command) })
	return all
}
