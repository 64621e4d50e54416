package raft

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/understudy-ha/understudy/backends/ledger"
	"github.com/understudy-ha/understudy/internal/clientconf"
	"github.com/understudy-ha/understudy/lock"
)

// The paths of the port's HTTP, all of them POST with JSON both ways.
const (
	pathPropose = "/propose" // entry → ledger.Result
	pathLook    = "/look"    // question → view; waits up to poll
	pathHello   = "/hello"   // greetings both ways
	pathJoin    = "/join"    // ?phase=remove|add, candidate → welcome
	pathStatus  = "/status"  // nothing → NodeStatus
	pathMember  = "/member"  // MemberChange → nothing
	pathElect   = "/elect"   // hello with the leader that is dead → hello with the one there is then
)

// onlyLeader is what a follower adds to the path of what it forwards, so that
// nothing is forwarded twice.
const onlyLeader = "?at=leader"

// A question asks for the standing of roles, after After.
type question struct {
	After ledger.Mark `json:",omitzero"`
	Roles []string    `json:",omitempty"`
}

// A view answers it. Nothing came where it is not after After.
type view = ledger.View

const (
	poll     = time.Second                   // how long /look waits
	electing = 250 * time.Millisecond        // how long /elect waits for a leader, at least
	statusNo = http.StatusMisdirectedRequest // surely not applied: ask another, or again
)

// What a node takes of who calls it, and a caller of who answers. The least that fits: a
// hello names every peer a few times, and a command has a limit of its own.
const (
	maxBody   = 8 << 20  // of a command that a peer forwards, and of an answer
	maxSmall  = 64 << 10 // of any other call
	maxPeers  = 8 << 10  // of the list of peers, which a hello holds several times
	maxHeader = 8 << 10
	maxWords  = 1 << 10 // of what an error repeats
	maxLarge  = 2       // calls with more than maxSmall, at once
	maxUsers  = 512     // connections with calls, at once
	pace      = 500     // calls a second to a path, from all who have not proved to be peers
	burst     = 100     // of these at once
	maxUnsaid = 128     // connections that have not said yet what they are, at once
	maxAsking = 8       // questions back to who is said to ask, at once
	maxKnown  = 256     // processes, and directories, of which something is remembered
)

// errNotApplied means that nothing was done, for sure: the one failure after
// which a proposal may be made again.
var errNotApplied = errors.New("not applied")

// undone is an error after which nothing was done, for sure. Its text is what happened: a reader of a log may ask nothing
// to be done.
type undone struct{ error }

func (e undone) Unwrap() error        { return e.error }
func (e undone) Is(target error) bool { return target == errNotApplied }

// A laterError is a leader's answer to a change that it did not make yet. The text says what must happen first.
type laterError struct{ why string }

func (e *laterError) Error() string        { return e.why }
func (e *laterError) Is(target error) bool { return target == errNotApplied }

func later(format string, args ...any) error { return &laterError{fmt.Sprintf(format, args...)} }

// short says in a few words why a call got no answer.
func short(err error) string {
	var op *net.OpError
	switch {
	case errors.As(err, &op):
		return op.Err.Error()
	case errors.Is(err, context.DeadlineExceeded):
		return "it is silent"
	}
	return err.Error()
}

// groupHeader names the group of a node that calls, or answers.
const groupHeader = "Understudy-Group"

// A caller makes calls to peers.
type caller struct {
	http   *http.Client
	member belonging // nil: it calls from outside
}

func newCaller(d *dialer) caller {
	return caller{member: d.member, http: &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			MaxIdleConnsPerHost:    16,
			IdleConnTimeout:        30 * time.Second,
			MaxResponseHeaderBytes: maxHeader,
			DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
				conn, err := d.dial(ctx, address, userStream)
				if err != nil {
					return nil, undone{err}
				}
				return conn, nil
			},
		},
	}}
}

func (c caller) close() { c.http.CloseIdleConnections() }

// called is the context key for the ID of the node that is called: under TLS it must prove that, also
// at an address that no list has yet.
type called struct{}

func calledOf(ctx context.Context) string {
	id, _ := ctx.Value(called{}).(string)
	return id
}

// call makes one call. Its error wraps errNotApplied, or lock.ErrPermanent, or
// leaves the outcome unknown.
func (c caller) call(ctx context.Context, p Peer, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return lock.Permanent(err)
	}
	ctx = context.WithValue(ctx, called{}, p.ID)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+p.Address+path, bytes.NewReader(body))
	if err != nil {
		return lock.Permanent(err)
	}
	if c.member != nil {
		req.Header.Set(groupHeader, c.member.group())
	}
	resp, err := c.http.Do(req)
	switch {
	case err == nil:
	case strings.Contains(err.Error(), "malformed HTTP"), strings.Contains(err.Error(), "readLoopPeekFail") && !clientconf.Dropped(err): // such as what ssh says first, or before it is asked
		return noNode(p, err.Error())
	case clientconf.Dropped(err):
		return fmt.Errorf("peer %s: what answers there ends the connection without a word (%w): it is not a node, or it is being stopped", p, withoutURL(err))
	default:
		return fmt.Errorf("peer %s: %w", p, withoutURL(err))
	}
	defer func() { _ = resp.Body.Close() }() // it was read to its end, or its error was told
	if path != pathHello && c.member != nil {
		if err := checkGroup(c.member, resp.Header); err != nil {
			return fmt.Errorf("peer %s: %w", p, err)
		}
	}
	most := maxSmall
	if strings.HasPrefix(path, pathPropose) || path == pathLook {
		most = maxBody
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, int64(most)+1))
	if err != nil {
		return fmt.Errorf("peer %s: %w", p, err)
	}
	if len(answer) > most {
		return fmt.Errorf("peer %s: its answer to %s has more than %d bytes", p, path, most)
	}
	text := brief(strings.TrimSpace(string(answer)))
	ok := resp.StatusCode == http.StatusOK
	if ok {
		err = json.Unmarshal(answer, out)
	}
	_, node := resp.Header[groupHeader]
	switch {
	case ok && err == nil:
		return nil
	case !node && resp.StatusCode != statusNo:
		return noNode(p, resp.Status+" "+text)
	case ok:
		return fmt.Errorf("peer %s: %w", p, err)
	}
	switch resp.StatusCode {
	case http.StatusConflict:
		return &laterError{text}
	case statusNo:
		if text == onlyTLS {
			return undone{fmt.Errorf("peer %s: %w", p, errOnlyTLS)}
		}
		return undone{fmt.Errorf("peer %s: %s", p, strings.TrimPrefix(text, errNotApplied.Error()+": "))}
	case http.StatusForbidden: // another certificate is the cure
		return lock.Permanent(lock.InFields(fmt.Errorf("peer %s: %s", p, text), "CertFile"))
	case http.StatusUnprocessableEntity, http.StatusRequestEntityTooLarge:
		return lock.Permanent(fmt.Errorf("peer %s: %s", p, text))
	}
	return fmt.Errorf("peer %s: %s: %s", p, resp.Status, text)
}

// withoutURL is an error of the HTTP client without the method and the URL, which say nothing that a peer's name does not.
func withoutURL(err error) error {
	var asked *url.Error
	if errors.As(err, &asked) {
		return asked.Err
	}
	return err
}

// greet says hello. Its error wraps errSilent if the connection was made and no answer came before ctx
// ended.
func (c caller) greet(ctx context.Context, p Peer, mine hello, theirs *hello) error {
	var taken atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		ConnectDone: func(_, _ string, err error) { taken.Store(taken.Load() || err == nil) },
		GotConn:     func(httptrace.GotConnInfo) { taken.Store(true) },
	})
	err := c.call(ctx, p, pathHello, mine, theirs)
	if err != nil && taken.Load() && ctx.Err() != nil {
		return fmt.Errorf("%w: %w", errSilent, err)
	}
	return err
}

var errSilent = errors.New("it takes connections, and does not answer")

// noNode means that another server answers at a peer's address, or an older node without this call.
func noNode(p Peer, says string) error {
	says = strings.Join(strings.Fields(says), " ")
	return fmt.Errorf("peer %s: what answers there is not a node of this version (it says %.100q): check its address in the list of peers", p, says)
}

// propose asks a peer to apply a command.
func (c caller) propose(ctx context.Context, p Peer, path string, cmd ledger.Command) (ledger.Result, error) {
	var r ledger.Result
	err := c.call(ctx, p, path, entry{formatOf(cmd), cmd}, &r)
	return r, err
}

// checkGroup refuses what comes from another group. Hello alone may: it says so itself.
func checkGroup(m belonging, h http.Header) error {
	mine, theirs := m.group(), h.Get(groupHeader)
	if mine == "" || theirs == "" || mine == theirs {
		return nil
	}
	return lock.Permanent(fmt.Errorf("%w: the one belongs to group %s, the other to group %s", errOtherGroup, mine, theirs))
}
