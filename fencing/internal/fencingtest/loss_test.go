package fencingtest

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/fencing"
	"github.com/understudy-ha/understudy/fencing/fencinghttp"
)

var lossFor = flag.Duration("loss", 10*time.Second, "how long TestLoss pauses processes")

// The workload of the field, as Jepsen ran it against locks in etcd: five processes, a
// ttl of 2 s, a pause every five seconds, and a set in memory. Who is active reads the
// set, thinks, and writes it back with one element more. A pause hits the active between
// the two.
const (
	processes  = 5
	pauseEvery = 5 * time.Second
	thinkLeast = 100 * time.Millisecond
	thinkMost  = time.Second
)

// TestLoss counts the acknowledged elements that are missing from the set at the end:
// without the token some are, with it none.
func TestLoss(t *testing.T) {
	for _, c := range []struct {
		name          string
		fenced, heeds bool
	}{
		{name: "without the token"},
		{name: "without the token, Valid before each write", heeds: true},
		{name: "with the token", fenced: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := newLoss(t, contender{Guard: "set", Heeds: c.heeds}, c.fenced)
			for end := time.Now().Add(*lossFor); time.Now().Before(end); {
				next := time.Now().Add(pauseEvery)
				l.pauseActive()
				time.Sleep(time.Until(next)) // the plan of the faults
			}
			acked, refused, lost := l.count()
			t.Logf("%d pauses, %d updates acknowledged, %d of them lost (%.0f %%), %d refused",
				l.pauses, acked, lost, 100*float64(lost)/float64(acked), refused)
			switch {
			case l.pauses < 2 || acked < l.pauses:
				t.Error("too little happened to say anything")
			case c.fenced && lost > 0:
				t.Error("an acknowledged update was lost with the token")
			case c.fenced && refused == 0:
				t.Error("no stale write came: the pauses did not hit")
			case !c.fenced && !c.heeds && lost == 0:
				t.Error("nothing was lost without the token: the pauses did not hit")
			}
		})
	}
}

// A loss is one run of the workload.
type loss struct {
	testing.TB
	processes map[string]*process
	pauses    int

	mu      sync.Mutex
	set     []int
	read    chan string   // of who reads
	written chan struct{} // of each write
}

func newLoss(t testing.TB, c contender, fenced bool) *loss {
	l := &loss{TB: t, processes: map[string]*process{}, read: make(chan string), written: make(chan struct{})}
	var handler http.Handler = http.HandlerFunc(l.serve)
	if fenced {
		handler = fencinghttp.Handler(fencing.NewGate(&fencing.Memory{}, "r"), handler)
	}
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	c.Store = storeOf(t, "etcd", nil, 0)
	for i := range processes {
		c.ID, c.URL = strconv.Itoa(i), s.URL+"/"+strconv.Itoa(i)
		l.processes[c.ID] = c.start(t)
	}
	return l
}

// serve is the resource: GET reads the set, PUT replaces it.
func (l *loss) serve(w http.ResponseWriter, r *http.Request) {
	who := r.URL.Path[1:]
	if r.Method == http.MethodGet {
		l.mu.Lock()
		text, err := json.Marshal(l.set)
		l.mu.Unlock()
		if _, err2 := w.Write(text); err != nil || err2 != nil {
			l.Error(err, err2)
		}
		notify(l.read, who)
		return
	}
	body, err := io.ReadAll(r.Body)
	var set []int
	if err == nil {
		err = json.Unmarshal(body, &set)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	l.mu.Lock()
	l.set = set
	l.mu.Unlock()
	notify(l.written, struct{}{})
}

// notify tells who waits, if anybody does.
func notify[T any](to chan T, what T) {
	select {
	case to <- what:
	default:
	}
}

// pauseActive pauses a process that has read the set, until others have written it twice.
func (l *loss) pauseActive() {
	l.Helper()
	p := l.processes[wait(l, l.read, "read")]
	must(l, p.Pause())
	l.pauses++
	wait(l, l.written, "written")
	wait(l, l.written, "written")
	must(l, p.Resume())
}

func wait[T any](l *loss, from chan T, what string) T {
	l.Helper()
	select {
	case got := <-from:
		return got
	case <-time.After(time.Minute):
		l.Fatalf("nobody has %s the set for a minute", what)
		panic("not reached")
	}
}

// count stops all processes, and compares what they were acknowledged with the set.
func (l *loss) count() (acked, refused, lost int) {
	l.Helper()
	var all []int
	for _, p := range l.processes {
		lines := p.end(l)
		refused += len(said(lines, "refused"))
		for _, element := range said(lines, "added ") {
			n, err := strconv.Atoi(element)
			must(l, err)
			all = append(all, n)
		}
	}
	for _, element := range all {
		if !slices.Contains(l.set, element) {
			lost++
		}
	}
	return len(all), refused, lost
}

// add is the work of a contender of TestLoss: it adds one element after the other to the
// set, as long as its term stands when it begins with one.
func (c contender) add(ctx context.Context, term coordinator.Term) error {
	client := &http.Client{Transport: &fencinghttp.Transport{}}
	defer http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	under := fencing.NewContext(context.Background(), term.Role, term.Token)
	for ctx.Err() == nil && term.Valid() {
		var set []int
		err := send(under, client, http.MethodGet, c.URL, "", func(r *http.Response) error { return json.NewDecoder(r.Body).Decode(&set) })
		if err != nil {
			fmt.Println("refused a read:", err)
			return err
		}
		time.Sleep(thinkLeast + rand.N(thinkMost-thinkLeast)) // and here it is paused
		if c.Heeds && !term.Valid() {
			return errors.New("the term is over")
		}
		element := rand.Int() // nobody else adds the same
		text, err := json.Marshal(append(set, element))
		if err != nil {
			return err
		}
		if err := send(under, client, http.MethodPut, c.URL, string(text), nil); err != nil {
			fmt.Println("refused a write:", err)
			return err
		}
		fmt.Println("added", element)
	}
	return errors.New("the term is over, or the test")
}
