package raft

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backends/ledger"
)

// TestCallsArePaced: who calls again and again without a pause is answered at a pace, and costs neither a session its beats nor
// the group its leader. Without that a node answered thousands of calls a second, and did nothing else.
func TestCallsArePaced(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 3, nil).start()
	l, f := g.leader()
	s := register(t, g.lockers[f], "a") // by way of the leader
	token := acquire(t, s)
	for path, in := range map[string]any{
		pathHello:  hello{ID: "b", Process: "p", Peers: strings.Repeat("b=127.0.0.1:1,", 100)},
		pathLook:   question{Roles: []string{"r"}},
		pathStatus: struct{}{},
	} {
		limit := g.nodes[l].paces[path]
		if limit.Limit() != pace || limit.Burst() != burst {
			t.Errorf("%s has a pace of %v and %d", path, limit.Limit(), limit.Burst())
		}
		limit.SetLimit(20) // so that the machine would answer more, however busy it is
		limit.SetBurst(5)
		began := time.Now()
		flood, stop := g.flood(l, path, in)
		for range 10 {
			must(t, s.Beat(timeout(t, 10*time.Second)))
			time.Sleep(20 * time.Millisecond) // as a session has pauses
		}
		stop()
		if answers, most := flood.Load(), 5+20*time.Since(began).Seconds(); float64(answers) > most+1 || answers == 0 {
			t.Errorf("%s: %d answers, want %.0f at most", path, answers, most)
		}
	}
	standing(t, g.lockers[l], holds(token))
}

// flood calls a node again and again on many connections until stop is called, and counts the answers.
func (g *group) flood(i int, path string, in any) (answers *atomic.Int64, stop func()) {
	g.t.Helper()
	body, err := json.Marshal(in)
	must(g.t, err)
	call := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", path, len(body), body)
	answers = new(atomic.Int64)
	var conns []net.Conn
	var all sync.WaitGroup
	for range 32 {
		conn, err := net.Dial("tcp", g.configs[i].peer(g.configs[i].ID).Address)
		must(g.t, err)
		conns = append(conns, conn)
		all.Go(func() {
			_, err := io.WriteString(conn, string(userStream)+call)
			for lines := bufio.NewScanner(conn); err == nil && lines.Scan(); {
				if strings.HasPrefix(lines.Text(), "HTTP/1.1 ") {
					answers.Add(1)
					_, err = io.WriteString(conn, call)
				}
			}
		})
	}
	return answers, func() {
		for _, conn := range conns {
			_ = conn.Close() // what is read there ends
		}
		all.Wait()
	}
}

// TestPeersWaitForNobody: under TLS the pace is of those who have not proved to be peers, whatever they call.
func TestPeersWaitForNobody(t *testing.T) {
	t.Parallel()
	ours := newAuthority(t)
	g := newGroup(t, 3, func(c *Config) { ours.give(c, c.ID) }).start()
	l, _ := g.leader()
	for _, limit := range g.nodes[l].paces {
		limit.SetLimit(0)
		limit.SetBurst(3)
	}
	calls := func(as, path string, in, out any) (done int) {
		caller, end := g.callsAs(ours, as)
		defer end()
		for ; done < 10; done++ {
			if err := caller.call(timeout(t, 2*time.Second), g.configs[0].Peers[l], path, in, out); err != nil {
				break
			}
		}
		return done
	}
	if n := calls("operator", pathHello, hello{}, new(hello)); n != 3 {
		t.Errorf("an operator had %d answers, want 3", n)
	}
	if n := calls("operator", pathPropose, entry{plain, ledger.Command{Op: ledger.Nothing}}, new(ledger.Result)); n != 3 {
		t.Errorf("an operator proposed %d times, want 3", n)
	}
	if n := calls(g.configs[1-min(l, 1)].ID, pathHello, hello{}, new(hello)); n != 10 {
		t.Errorf("a peer had %d answers, want 10", n)
	}
}
