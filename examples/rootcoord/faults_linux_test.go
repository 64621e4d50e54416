package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/lock"
)

// TestFaults has clients write and read all the time, while the active is killed, stopped, cut off and
// replaced. What they were told must be so.
func TestFaults(t *testing.T) {
	for store, of := range map[string]struct {
		ids    []string
		faults []string
	}{
		"raft": {[]string{"a", "b", "c"}, []string{"kill", "handoff", "sleep", "hang", "kill"}},
		"etcd": {[]string{"a", "b"}, []string{"kill", "cut", "sleep", "handoff", "hang", "kill"}},
	} {
		t.Run(store, func(t *testing.T) {
			f := &field{group: newGroup(t, store, of.ids...), said: map[string]entry{}}
			f.settled(1)
			ctx, stop := context.WithCancel(t.Context())
			var busy sync.WaitGroup
			for i := range 4 {
				c := &client{field: f, name: fmt.Sprintf("w%d", i), draw: rand.New(rand.NewPCG(rand.Uint64(), 0)), most: time.Second}
				if i%2 == 0 {
					c.most = lab.Patience // it hears what one says that wakes
				}
				busy.Go(func() { c.run(ctx) })
			}
			for _, fault := range of.faults {
				f.fault(fault)
			}
			stop()
			busy.Wait()
			f.judge()
		})
	}
}

// A field is a group, and what its clients were told.
type field struct {
	*group
	exact atomic.Int64 // how many reads were linearizable

	mu      sync.Mutex
	created []creation
	said    map[string]entry // by path: what was acknowledged, and not dropped since
}

// A creation was acknowledged.
type creation struct {
	entry
	began, last, ended time.Time // the first attempt, the one that was answered, and the answer
}

// A client creates and drops partitions in a collection of its own, one after the other.
type client struct {
	*field
	name string
	draw *rand.Rand
	most time.Duration // for an answer
	id   int           // of the process that it asks
	own  []string
}

func (c *client) run(ctx context.Context) {
	c.create("/collections/" + c.name)
	for i := 0; ctx.Err() == nil; i++ {
		if n := len(c.own); n > 20 && c.draw.IntN(3) == 0 {
			at := c.draw.IntN(n)
			c.drop(c.own[at])
			c.own = slices.Delete(c.own, at, at+1)
			continue
		}
		path := fmt.Sprintf("/collections/%s/partitions/p%d", c.name, i)
		c.create(path)
		c.own = append(c.own, path)
	}
}

func (c *client) create(path string) {
	about := strings.Repeat(path, 4)
	n := creation{began: time.Now()}
	n.entry, n.last = c.until(http.StatusCreated, "PUT", path, about)
	n.ended = time.Now()
	if n.About != about {
		c.Errorf("%s is about %q", path, n.About)
	}
	c.mu.Lock()
	c.created = append(c.created, n)
	c.said[path] = n.entry
	c.mu.Unlock()
	c.read(path, &n.entry)
}

func (c *client) drop(path string) {
	c.until(http.StatusNoContent, "DELETE", path, "")
	c.mu.Lock()
	delete(c.said, path)
	c.mu.Unlock()
	c.read(path, nil)
}

// until asks, with one key, until the outcome is known, which can be only one.
func (c *client) until(want int, method, path, about string) (entry, time.Time) {
	key := fmt.Sprintf("%s-%x", c.name, c.draw.Uint64())
	for end := time.Now().Add(lab.Patience); time.Now().Before(end); {
		began := time.Now()
		a, err := ask(context.Background(), c.most, method, c.at[c.ids[c.id]]+path, key, about)
		switch {
		case err == nil && a.status == want:
			return a.entry, began
		case err == nil && a.status != http.StatusServiceUnavailable && a.status != http.StatusGatewayTimeout:
			c.Errorf("%s %s: %d %s", method, path, a.status, a.text)
			return entry{}, began
		}
		next := slices.IndexFunc(c.ids, func(id string) bool { return c.at[id] == a.active })
		if next < 0 || next == c.id {
			next = (c.id + 1) % len(c.ids)
		}
		c.id = next
		time.Sleep(5 * time.Millisecond) // nobody tells when another is active
	}
	c.Errorf("%s %s: no outcome within %v", method, path, lab.Patience)
	return entry{}, time.Time{}
}

// read asks any process: whoever says that it knows the latest must know what was acknowledged.
func (c *client) read(path string, want *entry) {
	a, err := ask(context.Background(), c.most, "GET", c.at[c.ids[c.draw.IntN(len(c.ids))]]+path, "", "")
	if err != nil || a.age != "0" {
		return
	}
	c.exact.Add(1)
	if found := a.status == http.StatusOK; found != (want != nil) || found && !same(a.entry, *want) {
		c.Errorf("GET %s, with an age of 0: %d %s, though %v was acknowledged", path, a.status, a.text, want)
	}
}

func same(a, b entry) bool { return a.ID == b.ID && a.Token == b.Token && a.About == b.About }

// fault does something to the active, and waits until another has answered.
func (f *field) fault(kind string) {
	st := f.settled(f.latest())
	id := st.Term.Holder.ID
	p, began := f.procs[id], time.Now()
	switch kind {
	case "kill":
		lab.Must(f, p.Signal(syscall.SIGKILL))
	case "handoff":
		lab.Must(f, f.client.Ask(f.Context(), "rootcoord", lock.Request{Token: st.Term.Token, To: st.Line[0].Session, By: "test"}))
	case "hang": // its witness kills it
		lab.Must(f, p.Pause())
	case "sleep": // its witness sleeps, too: it wakes when another is active, and finds what was asked meanwhile
		stopped := append(witnesses(f, p.PID()), p.PID())
		for _, pid := range stopped {
			lab.Must(f, syscall.Kill(pid, syscall.SIGSTOP))
		}
		f.answered(st.Term.Token, began)
		for _, pid := range stopped {
			_ = syscall.Kill(pid, syscall.SIGCONT) // none has ended: nobody else ends them
		}
	case "cut":
		f.far[id].Hold(true, true)
		f.answered(st.Term.Token, began)
		f.far[id].Hold(false, false)
	}
	f.Logf("%s of %s: %v to the first answer of another", kind, id, f.answered(st.Term.Token, began).Round(time.Millisecond))
	if kind == "kill" || kind == "hang" {
		<-p.Gone()
	}
}

// latest is the latest term that has acknowledged something: a process that slept may know an earlier one.
func (f *field) latest() (token lock.Token) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, n := range f.created {
		token = max(token, n.Token)
	}
	return token
}

// witnesses are the children of a process.
func witnesses(t testing.TB, pid int) (all []int) {
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	lab.Must(t, err)
	for _, task := range tasks {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", pid, task.Name()))
		lab.Must(t, err)
		for _, word := range strings.Fields(string(text)) {
			child, err := strconv.Atoi(word)
			lab.Must(t, err)
			all = append(all, child)
		}
	}
	if len(all) == 0 {
		t.Fatalf("process %d has no witness", pid)
	}
	return all
}

// answered waits until a later term has acknowledged something, and returns how long after the fault.
func (f *field) answered(after lock.Token, fault time.Time) (took time.Duration) {
	f.Helper()
	lab.Eventually(f, "an answer of another", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		i := slices.IndexFunc(f.created, func(n creation) bool { return n.Token > after })
		if i >= 0 {
			took = f.created[i].ended.Sub(fault)
		}
		return i >= 0
	})
	return took
}

// judge compares what was acknowledged with what there is, and with itself.
func (f *field) judge() {
	st := f.settled(f.latest())
	slices.SortFunc(f.created, func(a, b creation) int { return a.began.Compare(b.began) })
	byEnd := slices.SortedFunc(slices.Values(f.created), func(a, b creation) int { return a.ended.Compare(b.ended) })
	var before entry // the latest that was acknowledged
	for _, n := range f.created {
		for len(byEnd) > 0 && byEnd[0].ended.Before(n.began) {
			before.ID, before.Token = max(before.ID, byEnd[0].ID), max(before.Token, byEnd[0].Token)
			byEnd = byEnd[1:]
		}
		if n.ID <= before.ID || n.Token < before.Token {
			f.Errorf("%v was acknowledged, though it began after %v had been", n, before)
		}
	}
	slices.SortFunc(f.created, func(a, b creation) int { return int(a.ID) - int(b.ID) })
	for i, n := range f.created[1:] {
		if last := f.created[i]; n.ID == last.ID || n.Token < last.Token {
			f.Errorf("%v comes after %v", n, last)
		}
	}
	f.Logf("%d creations, %d linearizable reads, %d entries at last, under token %d", len(f.created), f.exact.Load(), len(f.said), st.Term.Token)
	if f.exact.Load() == 0 {
		f.Error("no read was linearizable")
	}
	for _, id := range f.ids {
		f.sameAs(id)
	}
}

// sameAs expects of a process exactly what was acknowledged, as soon as it has heard of all.
func (f *field) sameAs(id string) {
	var last string
	defer func() {
		if f.Failed() {
			f.Logf("%s: %s", id, last)
		}
	}()
	lab.Eventually(f, "what was acknowledged, at "+id, func() bool {
		is := map[string]entry{}
		var collections []string
		a, err := ask(f.Context(), lab.Patience, "GET", f.at[id]+"/collections", "", "")
		if err != nil || a.status != http.StatusOK {
			last = fmt.Sprint(a, err)
			return false
		}
		lab.Must(f, json.Unmarshal([]byte(a.text), &collections))
		for _, name := range collections {
			path := "/collections/" + name
			a, err := ask(f.Context(), lab.Patience, "GET", f.at[id]+path, "", "")
			if err != nil {
				return false
			}
			for partition, e := range a.entry.Partitions {
				is[path+"/partitions/"+partition] = *e
			}
			is[path] = a.entry
		}
		last = differ(is, f.said)
		return last == ""
	})
}

// differ says what is missing, too much or other.
func differ(is, want map[string]entry) string {
	var odd []string
	for path := range maps.Keys(want) {
		if e, ok := is[path]; !ok || !same(e, want[path]) {
			odd = append(odd, fmt.Sprintf("-%s", path))
		}
	}
	for path := range is {
		if _, ok := want[path]; !ok {
			odd = append(odd, "+"+path)
		}
	}
	return strings.Join(odd, " ")
}
