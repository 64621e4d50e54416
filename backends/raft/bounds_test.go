package raft

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backends/ledger"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/lock"
)

// listened returns a group of three whose first node's log is heard, from Info on.
func listened(t *testing.T) (*group, *lab.Said) {
	g, said := newGroup(t, 3, nil), new(lab.Said)
	g.configs[0].Logger = slog.New(slog.NewTextHandler(said, nil))
	g.start()
	g.raises(0, 1000)
	return g, said
}

// stranger returns a client that belongs to no group, and knows where node 0 is.
func (g *group) stranger() (*http.Client, string) {
	d, err := newDialer(Config{Peers: g.configs[0].Peers}, "")
	must(g.t, err)
	c := newCaller(d)
	g.t.Cleanup(func() { d.conns.closeAll(); c.close() })
	return c.http, "http://" + g.configs[0].Peers[0].Address
}

// allocated is how many bytes f had this process allocate.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestLargeBodiesAreNotRead: what anybody may send has a limit, and what is larger costs
// neither memory nor lines in the log.
func TestLargeBodiesAreNotRead(t *testing.T) {
	g, said := listened(t)
	before := said.String()
	client, at := g.stranger()
	body, err := json.Marshal(hello{ID: "b", Process: "p", Peers: strings.Repeat("b=127.0.0.1:1,", 4<<20/14)})
	must(t, err)
	paths := []string{pathHello, pathLook, pathJoin, pathElect}
	cost := allocated(func() {
		for i := range 60 {
			req, err := http.NewRequestWithContext(timeout(t, 10*time.Second), http.MethodPost, at+paths[i%len(paths)], bytes.NewReader(body))
			must(t, err)
			if i%10 == 9 {
				req.Body, req.ContentLength = io.NopCloser(req.Body), -1 // it does not say how long it is
			}
			resp, err := client.Do(req)
			if err != nil {
				continue // the node closed the connection in the midst of the body
			}
			text, _ := io.ReadAll(resp.Body)
			must(t, resp.Body.Close())
			if resp.StatusCode != http.StatusRequestEntityTooLarge {
				t.Errorf("%s with %d bytes: %s: %s", req.URL.Path, len(body), resp.Status, text)
			}
		}
	})
	if cost > 16<<20 {
		t.Errorf("60 bodies of 4 MB took %d MB of memory", cost>>20)
	}
	if more := said.String()[len(before):]; len(more) > 4<<10 {
		t.Errorf("they took %d bytes of log", len(more))
	}
	g.raises(0, 2000)
}

// TestStrangersDoNotFillTheLog, nor what a node remembers of them, whatever they say.
func TestStrangersDoNotFillTheLog(t *testing.T) {
	g, said := listened(t)
	before := strings.Count(said.String(), "\n")
	client, at := g.stranger()
	for i := range 1000 {
		h := hello{ID: []string{"a", "b", "c", fmt.Sprint("stranger", i)}[i%4], Peers: fmt.Sprint(i, strings.Repeat("x", 10_000)), Process: fmt.Sprint("process", i), Directory: fmt.Sprint(i)}
		body, err := json.Marshal(h)
		must(t, err)
		resp, err := client.Post(at+pathHello, "application/json", bytes.NewReader(body))
		must(t, err)
		_, _ = io.Copy(io.Discard, resp.Body)
		must(t, resp.Body.Close())
	}
	for i := range 100 { // of 100 other groups
		conn, err := net.Dial("tcp", g.configs[0].Peers[0].Address)
		must(t, err)
		group := fmt.Sprint("group", i)
		_, err = conn.Write(append([]byte{raftStream, byte(len(group))}, group...))
		must(t, err)
		_, _ = io.Copy(io.Discard, conn) // until it is refused
		must(t, conn.Close())
	}
	lines := strings.Split(said.String(), "\n")[before:]
	if len(lines) > 10 {
		t.Errorf("%d lines, such as %s", len(lines), lines[len(lines)/2])
	}
	for _, line := range lines {
		if len(line) > 4*maxWords {
			t.Errorf("a line of %d bytes", len(line))
		}
	}
	n := g.nodes[0]
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.verdicts) > maxKnown || len(n.known.Writes) > maxKnown {
		t.Errorf("the node remembers %d processes and %d directories", len(n.verdicts), len(n.known.Writes))
	}
}

// TestLargeHeadersAreRefused.
func TestLargeHeadersAreRefused(t *testing.T) {
	g, _ := listened(t)
	client, at := g.stranger()
	req, err := http.NewRequest(http.MethodPost, at+pathHello, strings.NewReader("{}"))
	must(t, err)
	req.Header.Set("X", strings.Repeat("x", 100<<10))
	resp, err := client.Do(req)
	if err != nil {
		return // the node closed the connection before it was sent
	}
	must(t, resp.Body.Close())
	if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Error(resp.Status)
	}
}

// TestConnectionsAreBounded: those that say nothing give way to those that do, there are
// not too many with calls, and the group goes on meanwhile.
func TestConnectionsAreBounded(t *testing.T) {
	g, said := listened(t)
	open := func(n int, says string) (conns []net.Conn) {
		for range n {
			conn, err := net.Dial("tcp", g.configs[0].Peers[0].Address)
			must(t, err)
			_, err = conn.Write([]byte(says))
			must(t, err)
			conns = append(conns, conn)
		}
		return conns
	}
	count := func(ended *atomic.Int64, conns ...net.Conn) { // how many end; which ones is a matter of scheduling
		for _, conn := range conns {
			go func() {
				if _, err := conn.Read(make([]byte, 1)); err != nil {
					ended.Add(1)
				}
			}()
		}
	}
	p := g.nodes[0].port
	calling := func() int {
		p.conns.mu.Lock()
		defer p.conns.mu.Unlock()
		return p.conns.users
	}
	silent := open(2*maxUnsaid, "")
	var oldest, refused atomic.Int64
	count(&oldest, silent[0])
	eventually(t, "the oldest's end", func() bool { return oldest.Load() == 1 })
	_, err := g.nodes[1].greetOne(timeout(t, 5*time.Second), g.configs[0].Peers[0])
	must(t, err)
	const more = 50
	var users []net.Conn
	for len(users) < maxUsers+more { // more at once could count as silent before they are heard
		some := open(maxUnsaid/4, "U")
		users = append(users, some...)
		count(&refused, some...)
		eventually(t, "each is let in or refused", func() bool { return calling()+int(refused.Load()) >= len(users) })
	}
	if now, no := calling(), refused.Load(); now > maxUsers || no < more || no > 2*more { // the group's own calls have connections, too
		t.Errorf("%d connections with calls, and %d refused", now, no)
	}
	g.raises(0, 3000)
	if n := strings.Count(said.String(), errTooMany.Error()); n != 1 {
		t.Errorf("it was told %d times that there are too many", n)
	}
	for _, conn := range append(silent, users...) {
		must(t, conn.Close())
	}
	eventually(t, "room", func() bool { return calling() < 20 })
}

// TestLargeCallsWaitForEachOther: small ones, such as beats, do not wait for them.
func TestLargeCallsWaitForEachOther(t *testing.T) {
	g, _ := listened(t)
	n := g.nodes[0]
	for range maxLarge {
		n.large <- struct{}{}
	}
	client, at := g.stranger()
	post := func(e entry) int {
		body, err := json.Marshal(e)
		must(t, err)
		resp, err := client.Post(at+pathPropose, "application/json", bytes.NewReader(body))
		must(t, err)
		must(t, resp.Body.Close())
		return resp.StatusCode
	}
	large := entry{valued, ledger.Command{Op: ledger.Write, Role: "r", Token: 1, Values: map[string][]byte{"k": make([]byte, 100<<10)}}}
	if code := post(large); code != statusNo {
		t.Errorf("a large call beside others: %d", code)
	}
	eventually(t, "a small call", func() bool { return post(entry{plain, ledger.Command{Op: ledger.Nothing}}) == http.StatusOK })
	<-n.large
	eventually(t, "a large call", func() bool { return post(large) == http.StatusOK })
	<-n.large
}

// TestRefusalIsBrief: what refuses a call does not send its text back whole.
func TestRefusalIsBrief(t *testing.T) {
	g, _ := listened(t)
	client, at := g.stranger()
	body, err := json.Marshal(entry{plain, ledger.Command{Op: ledger.Ask, Role: strings.Repeat("r", 1<<20), Token: 1, Request: lock.Request{To: "s"}}})
	must(t, err)
	resp, err := client.Post(at+pathPropose, "application/json", bytes.NewReader(body))
	must(t, err)
	text, err := io.ReadAll(resp.Body)
	must(t, err)
	must(t, resp.Body.Close())
	if !bytes.Contains(text, []byte("permanent")) || len(text) > 2*maxWords {
		t.Errorf("%s: %d bytes: %.200s", resp.Status, len(text), text)
	}
}

// TestAnswersAreBounded: who answers at a peer's address may be anybody.
func TestAnswersAreBounded(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	block := bytes.Repeat([]byte{'x'}, 1<<20)
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(map[string]int{pathHello: http.StatusOK, pathJoin: http.StatusForbidden}[r.URL.Path])
		for range 64 {
			_, _ = w.Write(block) // until the other side goes
		}
	})}
	go func() { _ = s.Serve(first{l}) }()
	defer func() { must(t, s.Close()) }()
	p := Peer{"b", l.Addr().String()}
	d, err := newDialer(Config{Peers: []Peer{p}}, "")
	must(t, err)
	c := newCaller(d)
	defer func() { d.conns.closeAll(); c.close() }()
	for _, path := range []string{pathHello, pathJoin} {
		cost := allocated(func() {
			err = c.call(timeout(t, 10*time.Second), p, path, hello{}, &hello{})
		})
		if err == nil || !strings.Contains(err.Error(), "has more than") || len(err.Error()) > 2*maxWords {
			t.Errorf("%s: %.200s", path, err)
		}
		if cost > 24<<20 { // of both sides
			t.Errorf("%s took %d MB", path, cost>>20)
		}
	}
}

// first takes the byte with which a connection begins.
type first struct{ net.Listener }

func (f first) Accept() (net.Conn, error) {
	conn, err := f.Listener.Accept()
	if err == nil {
		_, err = io.ReadFull(conn, make([]byte, 1))
	}
	return conn, err
}

// A broken listener accepts nothing.
type broken struct{ net.Listener }

func (broken) Accept() (net.Conn, error) { return nil, errors.New("too many open files") }

// TestAcceptErrorsAreToldOnce, however many there are.
func TestAcceptErrorsAreToldOnce(t *testing.T) {
	var said lab.Said
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	p := &port{dialer: &dialer{}, listener: broken{l}, log: slog.New(slog.NewTextHandler(&said, nil))}
	p.ctx, p.cancel = context.WithTimeout(t.Context(), time.Second) // ten tries
	defer p.cancel()
	p.accept()
	must(t, l.Close())
	if n := strings.Count(said.String(), "\n"); n != 1 {
		t.Errorf("%d lines:\n%s", n, said.String())
	}
}

// TestMessagesAreBounded: one of Raft's that says a length without an end is not read to it.
func TestMessagesAreBounded(t *testing.T) {
	ours, theirs := net.Pipe()
	m := &metered{Conn: ours}
	go func() {
		block := make([]byte, 1<<20)
		for err := error(nil); err == nil; {
			_, err = theirs.Write(block)
		}
	}()
	n, err := io.Copy(io.Discard, m)
	if !errors.Is(err, errMessage) || n > maxMessage+1<<20 {
		t.Errorf("%d bytes, %v", n, err)
	}
	go func() { _, _ = theirs.Read(make([]byte, 1)) }()
	_, err = m.Write([]byte{0}) // an answer: the next message begins
	must(t, err)
	_, err = m.Read(make([]byte, 1))
	must(t, err)
	must(t, theirs.Close())
	must(t, ours.Close())
}

// TestListIsBounded: what a hello holds fits into it.
func TestListIsBounded(t *testing.T) {
	var peers []Peer
	for i := range 9 {
		peers = append(peers, Peer{fmt.Sprint(i, strings.Repeat("x", 250)), fmt.Sprint("127.0.0.1:", i+1)})
	}
	must(t, Config{Peers: peers}.ValidatePeers())
	for i := range 40 {
		peers = append(peers, Peer{fmt.Sprint("more", i, strings.Repeat("x", 240)), fmt.Sprint("127.0.0.1:", i+100)})
	}
	if err := (Config{Peers: peers}).ValidatePeers(); err == nil || !strings.Contains(err.Error(), "bytes, the limit is 8192") {
		t.Error(err)
	}
}
