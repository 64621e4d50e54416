package machine

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/lab/script"
	"github.com/understudy-ha/understudy/lock"
)

// TestDecisions plays the scripts in testdata/decisions: one machine by the everyday rules is
// shown one event after another, and time passes in which it wakes when it wants to. What it
// decides and when, and what is seen of its roles then, is compared with what is written down.
// A step is an event in small letters ("acquired r ok 5"), or "pass 3s".
func TestDecisions(t *testing.T) {
	onScripts(t, "testdata/decisions/*.txt", decide)
}

// A director is a desk that reads a script.
type director struct {
	desk
	roles  []string
	start  Instant
	silent bool // nobody answers a beat
	said   strings.Builder
}

func decide(t *testing.T, s script.Script) (all []script.Block) {
	roles := []string{"r"}
	rules := everyday()
	for _, option := range strings.Fields(s.Options) {
		switch name, value, _ := strings.Cut(option, "="); name {
		case "roles":
			roles = strings.Split(value, ",")
		case "exclusive":
			rules.Exclusive = strings.Split(value, ",")
		case "fences":
			rules.Fences = true
		}
	}
	at := Instant{time.Hour, time.Hour, time.Hour}
	d := &director{desk: desk{t, New(rules, roles...), at}, roles: roles, start: at}
	for _, b := range s.Trace {
		d.said.Reset()
		for _, step := range b.Steps() {
			d.step(strings.Fields(step))
		}
		d.shows()
		all = append(all, script.Block{Lines: b.Lines, Want: d.said.String()})
	}
	return all
}

// show shows the machine an event, and writes down what it decides; a beat is acknowledged at
// once, unless nobody answers.
func (d *director) show(e Event) {
	for _, a := range d.see(e) {
		if a == Action(Beat{d.session.number}) && !d.silent {
			d.show(Beaten{d.session.number, d.now, lock.OK})
			continue
		}
		fmt.Fprintf(&d.said, "%v %s\n", d.now.Mono-d.start.Mono, strings.TrimPrefix(fmt.Sprintf("%T%v", a, a), "machine."))
	}
}

// shows is what is seen of each role.
func (d *director) shows() {
	for _, name := range d.roles {
		v := d.Role(name)
		fmt.Fprintf(&d.said, "%s: %s (%s)", name, d.State(d.now, name), d.Reason(d.now, name))
		if v.Token != 0 {
			fmt.Fprintf(&d.said, ", token %d", v.Token)
		}
		if v.Cause != nil {
			fmt.Fprintf(&d.said, ", stops: %v", v.Cause)
		}
		if in, told := d.ExitIn(d.now, name); told {
			fmt.Fprintf(&d.said, ", exits in %v", in)
		}
		if v.Refused {
			fmt.Fprint(&d.said, ", refused")
		}
		fmt.Fprintln(&d.said)
	}
	if wake := d.Wake(d.now); wake < never/2 {
		fmt.Fprintf(&d.said, "wakes in %v\n", wake)
	}
	if trip := d.Session().RoundTrip; trip > time.Microsecond {
		fmt.Fprintf(&d.said, "round trip %v\n", trip)
	}
	if d.Over() {
		fmt.Fprintln(&d.said, "over")
	}
}

var outcomeNamed = map[string]lock.Outcome{
	"ok": lock.OK, "unknown": lock.Unknown, "lost": lock.Lost, "held": lock.Held,
	"moved": lock.Moved, "gone": lock.Gone, "refused": lock.Refused,
}

func (d *director) step(words []string) {
	arg := func(i int) string {
		if i < len(words) {
			return words[i]
		}
		return ""
	}
	number := d.session.number
	if n, of := strings.CutPrefix(words[len(words)-1], "number="); of { // of an earlier registration
		number, _ = strconv.Atoi(n)
	}
	outcome := func(i int) lock.Outcome {
		o, ok := outcomeNamed[arg(i)]
		if !ok {
			d.Fatalf("%v: no outcome %q", words, arg(i))
		}
		return o
	}
	switch words[0] {
	case "pass":
		d.wait(arg(1))
	case "silence", "answers":
		d.silent = words[0] == "silence"
	case "tick":
		d.show(Tick{})
	case "stop":
		d.show(Stop{})
	case "registered":
		e := Registered{Number: number, At: d.now, Outcome: outcome(1), Dead: arg(3) == "dead"}
		if e.Outcome == lock.Held {
			e.Holder = d.member(arg(2))
		}
		d.show(e)
	case "beaten":
		trip, _ := time.ParseDuration(arg(2))
		d.show(Beaten{number, d.now.Plus(-trip), outcome(1)})
	case "closed":
		d.show(Closed{number, outcome(1)})
	case "rebid":
		d.show(Rebid{})
	case "checked":
		d.show(Checked{arg(1) == "healthy"})
	case "stalled":
		d.show(Stalled{arg(1), lock.Token(numeral(arg(2)))})
	case "evicted":
		d.show(Evicted{lock.SessionID(arg(1)), outcome(2)})
	case "intended":
		d.show(Intended{lock.SessionID(arg(1)), lock.Beat(numeral(arg(2))), outcome(3)})
	case "fenced":
		d.show(Fenced{lock.SessionID(arg(1)), lock.Beat(numeral(arg(2))), arg(3) == "dead"})
	case "unseen":
		d.show(Unseen{strings.TrimPrefix(arg(1), "*"), outcome(2)})
	case "acquired":
		d.show(Acquired{arg(1), number, outcome(2), lock.Token(numeral(arg(3)))})
	case "released":
		d.show(Released{arg(1), number, outcome(2)})
	case "handedoff":
		d.show(HandedOff{arg(1), number, outcome(2)})
	case "returned":
		how, ok := map[string]Return{"failed": Failed, "done": Done, "cancelled": Cancelled}[arg(2)]
		if !ok {
			d.Fatalf("%v: how did it return?", words)
		}
		d.show(Returned{arg(1), number, how})
	case "stood":
		d.show(Stood{d.now, d.standing(arg(1), words[2:])})
	default:
		d.Fatalf("no step %q", words)
	}
}

func numeral(text string) uint64 {
	n, _ := strconv.ParseUint(text, 10, 64) // what is left out is 0
	return n
}

// wait lets time pass, with a Tick whenever the machine wakes.
func (d *director) wait(text string) {
	left, err := time.ParseDuration(text)
	if err != nil {
		d.Fatal(err)
	}
	for ticks := 0; left > 0; ticks++ {
		if ticks > 10_000 {
			d.Fatal("it does not sleep")
		}
		step := min(left, max(d.Wake(d.now), time.Millisecond))
		d.now, left = d.now.Plus(step), left-step
		d.show(Tick{})
	}
}

// member reads a session and its beat: "other:5"; "me" is our own.
func (d *director) member(text string) lock.Member {
	id, beat, _ := strings.Cut(text, ":")
	n, _ := strconv.Atoi(beat)
	if id == "me" {
		id = string(d.ID(d.session.number))
	}
	return someone(lock.SessionID(id), lock.Beat(n))
}

// standing reads how a role stands: "token=7 by=other:5 over=released line=me,b:2".
func (d *director) standing(role string, words []string) lock.Standing {
	st := lock.Standing{Role: role}
	for _, word := range words {
		name, value, _ := strings.Cut(word, "=")
		n, _ := strconv.Atoi(value)
		switch name {
		case "store":
			st.Store = value
		case "floor":
			st.Floor = lock.Token(n)
		case "token":
			st.Term.Token, st.Floor = lock.Token(n), max(st.Floor, lock.Token(n))
		case "by":
			st.Term.Holder = d.member(value)
		case "over":
			st.Term.Over = value
		case "end":
			st.Term.End = lock.End{By: value, Why: "silent"}
		case "line":
			for one := range strings.SplitSeq(value, ",") {
				st.Line = append(st.Line, d.member(one))
			}
		case "to", "asks": // answered, or not yet
			st.Request.To, st.Request.Answered = d.member(value).Session, name == "to"
		case "paused", "halted": // by whom; and whoever is active shall stop, too
			st.Pause = lock.Pause{By: value, Why: "a new disk", Stop: name == "halted"}
		case "drained":
			for i := range st.Line {
				st.Line[i].Settings = lock.Settings{By: value, Drained: st.Line[i].Session == d.ID(d.session.number)}
			}
			st.Term.Holder.Settings = lock.Settings{By: value, Drained: st.Term.Holder.Session == d.ID(d.session.number)}
		case "of":
			st.Request.Token = lock.Token(n)
		default:
			d.Fatalf("%q says nothing about how a role stands", word)
		}
	}
	return st
}
