package admin

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/coordinator"
)

// The limits of the agent: HAProxy sends a line at most, and reads one.
const (
	agentLine = 512
	agentTime = time.Second
)

// serveAgent answers HAProxy's agent checks until the listener is closed.
func serveAgent(l net.Listener, m *coordinator.Monitor) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(agentTime))
			role, names := "", m.Names()
			if len(names) > 1 { // agent-send says which
				role, _ = bufio.NewReader(io.LimitReader(conn, agentLine)).ReadString('\n')
			}
			_, _ = io.WriteString(conn, advice(m, strings.TrimSpace(role))+"\n")
			// Bytes that were sent but not read would discard the answer.
			_ = conn.(*boundedConn).CloseWrite()
			_, _ = io.CopyN(io.Discard, conn, agentLine)
		}()
	}
}

// advice is a line of HAProxy's agent protocol. A standby is in maintenance rather than down: it
// is where it should be, nobody need be woken, and as soon as it is ready it is up without having
// to pass a health check first. Down means that something is wrong.
func advice(m *coordinator.Monitor, role string) string {
	names := m.Names()
	if role == "" && len(names) == 1 {
		role = names[0]
	}
	r, ok := m.Role(role)
	switch {
	case len(names) == 0:
		return "down #" + errNotBegun.Error()
	case role == "":
		return "down #agent-send must name one of " + strings.Join(names, " ")
	case !ok:
		return fmt.Sprintf("down #no role %q here", role)
	case r.Works():
		return "up ready"
	}
	switch why := unfit(m.Process(), r); {
	case r.State == coordinator.Draining && r.Left > 0:
		return "drain"
	case why == nil:
		return "maint"
	default:
		return "down #" + strings.Join(strings.Fields(why.Error()), " ")
	}
}
