// Package conformance proves that a store keeps the contract of package lock,
// and that a coordinator over it keeps its own.
//
// To test a backend, run the suite from one test:
//
//	func TestConformance(t *testing.T) {
//		conformancetest.Run(t, conformance.Suite{
//			New: func(ctx context.Context) (*conformance.Store, error) {
//				return &conformance.Store{Open: open}, nil
//			},
//			Lacks: map[conformance.Fault]string{conformance.Restart: "it is a service that we cannot restart"},
//		})
//	}
//
// Every case quotes the sentence that it tests. Nothing is skipped silently: a fault that a
// harness cannot make is in [Suite.Lacks], with the reason, which is the result of every case
// that needs it.
package conformance

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// A Suite is a store under test. The zero value of a field other than New means its default.
type Suite struct {
	// New returns a store for one case, which closes it. Two cases may share one: each uses names
	// of its own, and a case that restarts or compacts a store, or fills it or counts what is
	// left, runs alone.
	New func(ctx context.Context) (*Store, error)

	// Lacks says for each fault that New's stores cannot make why not. All others must be
	// provided.
	Lacks map[Fault]string

	// Only chooses cases by their names. Nil: all run.
	Only *regexp.Regexp

	// Needing leaves out every case that does not need this fault.
	Needing Fault

	TTL     time.Duration // of the promises in cases that do not choose their own: default 1 s
	Slack   time.Duration // how much later than due something may be seen, on a busy machine: default 1 s
	History time.Duration // how long each of three cases makes random calls, which are judged as a whole: default 5 s

	// Far puts every Locker far away from the store: a round trip takes this part of the time
	// that a coordinator's call has (Config.Try), at most 0.9. Everything that works near it
	// works there. Unless Only chooses, only the cases run that show this. Zero: it is near.
	Far float64

	pace *pace // how late this machine is; nil if time is virtual

	// Virtual says that each case runs in a bubble of testing/synctest, which package
	// conformancetest makes; Check ignores it. It fits a store that lives in this process and
	// uses no sockets.
	Virtual bool
}

// A Store is one store and what can be done to it. A nil function is a fault that must be in
// Suite.Lacks.
type Store struct {
	Open  func(ctx context.Context) (*Client, error) // another process's way to the store
	Close func() error                               // may be nil

	Restart       func(ctx context.Context) error                    // kills all servers at once and starts them on their data; returns when they answer
	Pause         func() (resume func() error, err error)            // stops all servers where they are, with their connections
	KillLeader    func(ctx context.Context) error                    // kills the server that leads the others; starts it again when one of these leads
	Save          func(ctx context.Context) (Backup, error)          // copies the store's data
	Compact       func(ctx context.Context) error                    // makes the store forget its history
	DeleteSession func(ctx context.Context, id lock.SessionID) error // deletes a session's record, as by hand
	RevokeLease   func(ctx context.Context, id lock.SessionID) error // ends the store's lease below a session
	LoseNode      func(ctx context.Context) error                    // removes the server's machine from the store's own list, with everything that depends on it
	DeleteRole    func(ctx context.Context, role string) error       // deletes a role's record, as by hand
	Overwrite     func(ctx context.Context, role string) error       // replaces a role's record by a foreign value
	Leftovers     func(ctx context.Context) ([]string, error)        // names those things of this store that the store itself removes when all processes are dead
}

// A Backup restores the store's state when it was saved.
type Backup func(ctx context.Context) error

// A Client is one process's way to the store, over a network that can be spoiled.
type Client struct {
	lock.Locker

	Cut         func() error // from now on nothing passes, either way, without an error
	CutReplies  func() error // from now on requests pass and replies do not
	CutRequests func() error // from now on replies pass and requests do not
	Refuse      func() error // breaks every connection, and from now on none can be made
	Heal        func() error // ends these; messages that were held back may then arrive

	Far func(trip, jitter time.Duration) // the least time of a round trip from now on, and how much longer it may randomly take
}

// A Fault names something that a harness can do to a store, or Operator or Values.
type Fault string

// The faults: the functions of Store and Client. Heal belongs to Cut.
const (
	Cut           Fault = "Cut"
	CutReplies    Fault = "CutReplies"
	CutRequests   Fault = "CutRequests"
	Refuse        Fault = "Refuse"
	Restart       Fault = "Restart"
	Pause         Fault = "Pause"
	KillLeader    Fault = "KillLeader"
	Save          Fault = "Save"
	Compact       Fault = "Compact"
	DeleteSession Fault = "DeleteSession"
	RevokeLease   Fault = "RevokeLease"
	LoseNode      Fault = "LoseNode"
	DeleteRole    Fault = "DeleteRole"
	Overwrite     Fault = "Overwrite"
	Leftovers     Fault = "Leftovers"
	Far           Fault = "Far" // needed by every case if Suite.Far is set

	// Operator is not a fault: it says that the Locker must be a lock.Operator, too.
	Operator Fault = "Operator"

	// Values is not one either: the Locker must be a lock.Values, too.
	Values Fault = "Values"
)

// A Verdict is how a case went.
type Verdict string

// The verdicts.
const (
	Passed        Verdict = "passed"
	Failed        Verdict = "failed"
	NotApplicable Verdict = "not applicable" // its fault is in Suite.Lacks
)

// A Result is the outcome of one case.
type Result struct {
	Case    string
	Rule    string // the sentence of the contract that the case tests
	Verdict Verdict
	Why     string // what failed, or why the case does not apply
	Took    time.Duration
}

// Cases returns the names of the cases that Check reports, in the table's order.
func (s Suite) Cases() (names []string) {
	for _, c := range cases {
		if s.chooses(c) {
			names = append(names, c.name)
		}
	}
	return names
}

func (s Suite) chooses(c kase) bool {
	if s.Far > 0 && s.Only == nil && !c.far {
		return false
	}
	return (s.Only == nil || s.Only.MatchString(c.name)) && (s.Needing == "" || slices.Contains(c.needs, s.Needing))
}

// Check runs every case and reports each result, one at a time, as it comes. It returns whether
// none failed. When ctx ends, running cases fail, and those that have not begun are not reported.
// An error is Validate's: no case was run.
func (s Suite) Check(ctx context.Context, report func(Result)) (bool, error) {
	if err := s.Validate(ctx); err != nil {
		return false, err
	}
	s.Virtual = false
	var mu sync.Mutex
	ok := true
	s.Each(func(c Case) {
		if ctx.Err() != nil {
			return
		}
		r := c.Run(ctx)
		mu.Lock()
		defer mu.Unlock()
		ok = ok && r.Verdict != Failed
		report(r)
	})
	return ok, nil
}

func (s Suite) defaults() Suite {
	set := func(d *time.Duration, to time.Duration) {
		if *d == 0 {
			*d = to
		}
	}
	set(&s.TTL, time.Second)
	set(&s.Slack, time.Second)
	set(&s.History, 5*time.Second)
	return s
}

// atOnce is how many cases run at the same time: most of the time they wait.
const atOnce = 6

// A Case is one case of a suite, ready to run once.
type Case struct {
	suite Suite
	kase  kase
}

// Name is the case's name, such as "AcquireHeld".
func (c Case) Name() string { return c.kase.name }

// Lacks says why the case does not apply to the suite's stores; "": it does.
func (c Case) Lacks() string { return c.suite.lacks(c.kase) }

// Run runs the case on a store of its own and returns its result. When ctx ends, the case fails.
func (c Case) Run(ctx context.Context) Result { return c.suite.try(ctx, c.kase) }

// Each calls run for every case that the suite chooses and returns when all calls have returned.
// Cases that do not disturb each other run at the same time; those that wait for long begin
// first. Without a test framework, call Check.
func (s Suite) Each(run func(Case)) {
	s = s.defaults()
	defer s.measured()()
	s.each(func(k kase) { run(Case{s, k}) })
}

func (s Suite) each(run func(kase)) {
	most := atOnce
	if s.Far > 0 { // far away they wait all the time
		most *= 2
	}
	if s.Virtual {
		most = 1
	}
	slots := make(chan struct{}, most)
	var group sync.WaitGroup
	var alone []kase
	for _, c := range s.chosen() {
		switch {
		case c.isAlone():
			alone = append(alone, c)
		case c.waits && !s.Virtual:
			group.Go(func() { run(c) })
		default:
			slots <- struct{}{}
			group.Go(func() {
				defer func() { <-slots }()
				run(c)
			})
		}
	}
	group.Wait()
	for _, c := range alone {
		run(c)
	}
}

// chosen are the cases to run, those that wait for long first.
func (s Suite) chosen() []kase {
	all := slices.DeleteFunc(slices.Clone(cases), func(c kase) bool { return !s.chooses(c) })
	slices.SortStableFunc(all, func(a, b kase) int {
		switch {
		case a.waits == b.waits:
			return 0
		case a.waits:
			return -1
		}
		return 1
	})
	return all
}

// lacks says why a case does not apply; "": it does.
func (s Suite) lacks(c kase) string {
	needs := c.needs
	if s.Far > 0 {
		needs = append(slices.Clone(needs), Far)
	}
	for _, f := range needs {
		if why, lacks := s.Lacks[f]; lacks {
			return fmt.Sprintf("%s: %s", f, why)
		}
	}
	return ""
}
