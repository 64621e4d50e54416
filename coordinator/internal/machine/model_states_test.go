package machine

import (
	"cmp"
	"hash/maphash"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// Breadth first: every world that can be reached, the shortest way first, within
// a budget of time. Two worlds that no future can tell apart are one: clocks are
// written relative to now, tokens by rank, beats and sessions by the order in
// which they are met. Worlds are told apart by a hash of 64 bits.

// beginnings are the traces from whose end is searched: nobody is there yet; one
// works and one stands by.
var beginnings = map[string]string{
	"empty":   "",
	"settled": "calm a,calm b,tick,calm a,calm b,calm a,calm b",
}

// TestStates searches breadth first and says how far it came.
func TestStates(t *testing.T) {
	budget := 4 * time.Second
	if testing.Short() {
		budget = time.Second
	}
	o := newOptions("n=2 m=1 ttl=3 skew=0 grace=1 beat=1 nohandoff norelease noghost")
	for name, begin := range beginnings {
		t.Run(name, func(t *testing.T) {
			s := states{seen: map[uint64]bool{}, seed: maphash.MakeSeed()}
			first := &node{world: newWorld(o)}
			for text := range strings.SplitSeq(begin, ",") {
				if l, err := parseLabel(text); err == nil {
					first.world.do(l)
					first = &node{world: first.world, from: first, label: l}
				}
			}
			found, complete := s.search(first, time.Now().Add(budget/2))
			t.Logf("%d states, %d edges, depth %d, complete: %v", len(s.seen), s.edges, s.depth, complete)
			if found != nil {
				t.Fatal(found.report())
			}
		})
	}
}

type states struct {
	seen  map[uint64]bool
	seed  maphash.Seed
	edges int
	depth int
}

// A node is a world that was reached, and how.
type node struct {
	world *world
	from  *node
	label label
	depth int
}

func (s *states) search(first *node, until time.Time) (found *trace, complete bool) {
	queue := []*node{first}
	for len(queue) > 0 {
		n := queue[0]
		queue[0] = nil
		queue = queue[1:]
		s.depth = n.depth
		if time.Now().After(until) {
			return nil, false
		}
		for _, l := range n.world.labels(nil) {
			if l.verb == "calm" { // made of the others
				continue
			}
			w := n.world.clone()
			w.do(l)
			s.edges++
			next := &node{world: w, from: n, label: l, depth: n.depth + 1}
			if w.fault == "" && s.edges%1000 == 0 {
				w.fault = w.allFair()
			}
			if w.fault != "" {
				return shrink(next.trace()), false
			}
			if key := s.key(w); !s.seen[key] {
				s.seen[key] = true
				queue = append(queue, next)
			}
		}
		n.world = nil
	}
	return nil, true
}

func (n *node) trace() *trace {
	t := &trace{options: n.world.options, fault: n.world.fault}
	for ; n.from != nil; n = n.from {
		t.labels = append(t.labels, n.label)
	}
	slices.Reverse(t.labels)
	return t
}

// key is the hash of all that any future of w depends on.
func (s *states) key(w *world) uint64 {
	e := encoder{sessions: map[lock.SessionID]byte{}, beats: map[lock.Beat]byte{}, most: 3*(w.ttl+w.skew) + 8}
	e.rank(w)
	for _, p := range w.procs {
		e.now, e.number = p.clock, p.machine.session.number
		e.session(p.machine.ID(e.number))
		e.add(b2i(p.up), int(p.cool), b2i(p.registered), b2i(p.standing != nil))
		e.value(reflect.ValueOf(p.work))
		e.value(reflect.ValueOf(p.machine.session))
		e.value(reflect.ValueOf(p.machine.roles))
		e.value(reflect.ValueOf(p.machine.sights))
		e.value(reflect.ValueOf(p.machine.line))
		e.add(b2i(p.machine.failed))
		e.value(reflect.ValueOf(p.heard))
		if p.standing != nil {
			e.value(reflect.ValueOf(*p.standing))
		}
		e.add(len(p.msgs))
		for _, m := range p.msgs {
			m.cmd.Token *= lock.Token(b2i(m.cmd.Op != "beat"))
			e.value(reflect.ValueOf(m))
		}
	}
	e.value(reflect.ValueOf(w.ledger.Sessions))
	e.value(reflect.ValueOf(w.ledger.Roles))
	e.value(reflect.ValueOf(w.ledger.Claims))
	e.value(reflect.ValueOf(w.started))
	met := make([]lock.SessionID, len(e.sessions))
	for id, i := range e.sessions {
		met[i] = id
	}
	for _, id := range met {
		_, over := w.ledger.Ended[id]
		e.add(b2i(over), b2i(w.living(id)))
	}
	return maphash.Bytes(s.seed, e.out)
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// An encoder writes values so that worlds no future can tell apart look alike.
type encoder struct {
	out      []byte
	now      time.Duration
	most     time.Duration // ages beyond it are one
	number   int
	sessions map[lock.SessionID]byte
	beats    map[lock.Beat]byte
	tokens   []lock.Token
	created  []uint64
}

func (e *encoder) add(all ...int) {
	for _, n := range all {
		e.out = append(e.out, byte(n), byte(n>>8))
	}
}

// rank collects the tokens of a world, in order.
func (e *encoder) rank(w *world) {
	e.tokens = append(e.tokens, 0, w.started)
	for _, s := range w.ledger.Sessions {
		e.created = append(e.created, s.Created)
	}
	slices.Sort(e.created)
	for _, r := range w.ledger.Roles {
		e.tokens = append(e.tokens, r.Term.Token, r.Previous, r.Request.Token)
	}
	for _, p := range w.procs {
		for _, r := range p.machine.roles {
			e.tokens = append(e.tokens, r.store.held, r.store.floor, r.store.seen, r.term.token, r.gave)
		}
		e.tokens = append(e.tokens, p.work.token)
		if p.standing != nil {
			e.tokens = append(e.tokens, p.standing.Term.Token, p.standing.Floor, p.standing.Request.Token)
		}
		for _, m := range p.msgs {
			e.tokens = append(e.tokens, m.cmd.Token, m.result.Token)
			if m.result.Held != nil {
				e.tokens = append(e.tokens, m.result.Held.Token)
			}
		}
	}
	slices.Sort(e.tokens)
	e.tokens = slices.Compact(e.tokens)
}

var (
	instantType = reflect.TypeFor[Instant]()
	sessionType = reflect.TypeFor[lock.SessionID]()
	beatType    = reflect.TypeFor[lock.Beat]()
	tokenType   = reflect.TypeFor[lock.Token]()
	hearingType = reflect.TypeFor[hearing]()
	timeType    = reflect.TypeFor[time.Time]()
)

func (e *encoder) value(v reflect.Value) {
	switch v.Type() {
	case instantType:
		e.age(time.Duration(v.Field(0).Int()))
		return
	case hearingType:
		e.value(v.Field(0))
		e.age(time.Duration(v.Field(1).Int()))
		return
	case sessionType:
		e.session(lock.SessionID(v.String()))
		return
	case beatType:
		e.beat(lock.Beat(v.Uint()))
		return
	case tokenType:
		i, _ := slices.BinarySearch(e.tokens, lock.Token(v.Uint()))
		e.add(i)
		return
	case timeType:
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		e.fields(v)
	case reflect.Map:
		e.entries(v)
	case reflect.Slice:
		e.add(v.Len())
		for i := range v.Len() {
			e.value(v.Index(i))
		}
	case reflect.String:
		e.add(v.Len())
		e.out = append(e.out, v.String()...)
	case reflect.Bool:
		e.add(b2i(v.Bool()))
	case reflect.Int, reflect.Int64:
		e.add(int(v.Int()))
	case reflect.Uint8, reflect.Uint64:
		e.add(int(v.Uint()))
	case reflect.Interface, reflect.Pointer:
		e.add(b2i(v.IsNil()))
		if !v.IsNil() {
			e.value(v.Elem())
		}
	default:
		panic("cannot write a " + v.Type().String())
	}
}

// fields writes a struct. The number of a registration counts from the current
// one; when a record was created does not matter but for the order of the line.
func (e *encoder) fields(v reflect.Value) {
	for i := range v.NumField() {
		switch v.Type().Field(i).Name {
		case "number":
			e.add(int(v.Field(i).Int()) - e.number)
		case "Revision", "Changed":
		case "Created":
			i, _ := slices.BinarySearch(e.created, v.Field(i).Uint())
			e.add(i)
		default:
			e.value(v.Field(i))
		}
	}
}

// entries writes a map in the order of its keys' names, or of their meeting.
func (e *encoder) entries(v reflect.Value) {
	keys := v.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int {
		if a.Type() == sessionType {
			x, xMet := e.sessions[lock.SessionID(a.String())]
			y, yMet := e.sessions[lock.SessionID(b.String())]
			if xMet && yMet {
				return cmp.Compare(x, y)
			}
		}
		return strings.Compare(a.String(), b.String())
	})
	e.add(len(keys))
	for _, k := range keys {
		e.value(k)
		e.value(v.MapIndex(k))
	}
}

// age writes how long ago an instant was. The zero instant is its own.
func (e *encoder) age(at time.Duration) {
	if at == 0 {
		e.add(-2000)
		return
	}
	e.add(int(min(max(e.now-at, -e.most), e.most)))
}

func (e *encoder) session(id lock.SessionID) {
	if id == "" {
		e.add(-1)
		return
	}
	if _, met := e.sessions[id]; !met {
		e.sessions[id] = byte(len(e.sessions))
	}
	e.add(int(e.sessions[id]), int(id[0])) // whose it is stays told apart
}

func (e *encoder) beat(b lock.Beat) {
	if b == lock.Absent {
		e.add(-1)
		return
	}
	if _, met := e.beats[b]; !met {
		e.beats[b] = byte(len(e.beats))
	}
	e.add(int(e.beats[b]))
}
