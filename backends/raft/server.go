package raft

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/raft"
	"golang.org/x/time/rate"

	"github.com/understudy-ha/understudy/backends/ledger"
	"github.com/understudy-ha/understudy/internal/certs"
	"github.com/understudy-ha/understudy/lock"
)

// patience is how long a node looks for a leader on behalf of who asks it, at least.
const patience = time.Second

// serve serves the port's HTTP until the node closes.
func (n *node) serve() *http.Server {
	mux := http.NewServeMux()
	handle(n, mux, pathPropose, n.servePropose)
	handle(n, mux, pathLook, n.serveLook)
	handle(n, mux, pathHello, n.serveHello)
	handle(n, mux, pathJoin, n.serveJoin)
	handle(n, mux, pathElect, n.serveElect)
	handle(n, mux, pathMember, n.serveMember)
	handle(n, mux, pathStatus, func(context.Context, *http.Request, struct{}) (NodeStatus, error) { return n.status(), nil })
	s := &http.Server{
		Handler:           mux,
		MaxHeaderBytes:    maxHeader,
		ReadHeaderTimeout: time.Minute, // a connection may stand before there is a call for it
		ReadTimeout:       time.Minute,
		WriteTimeout:      time.Minute,
		IdleTimeout:       time.Minute,
		ErrorLog:          slog.NewLogLogger(n.log.Handler(), slog.LevelDebug),
	}
	n.port.wg.Go(func() { _ = s.Serve(n.port.user) }) // it ends with the port
	return s
}

// handle registers a handler of JSON. It counts as one of the node's calls, ends
// with the node, and its error becomes the status that caller.call reads. Nothing of a body
// is read that is larger than who calls may send.
func handle[In, Out any](n *node, mux *http.ServeMux, path string, f func(context.Context, *http.Request, In) (Out, error)) {
	mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
		ctx, end, err := n.begin(r.Context())
		if err != nil {
			http.Error(w, err.Error(), statusNo)
			return
		}
		defer end()
		if err := n.paced(ctx, r, path); err != nil {
			http.Error(w, err.Error(), status(err))
			return
		}
		w.Header().Set(groupHeader, n.dir.group())
		if err := checkGroup(n.dir, r.Header); err != nil && path != pathHello {
			http.Error(w, err.Error(), status(err))
			return
		}
		done, err := n.admit(ctx, r, path)
		if err != nil {
			http.Error(w, err.Error(), status(err))
			return
		}
		defer done()
		var in In
		if err := decode(w, r, &in); err != nil {
			http.Error(w, "decode request: "+brief(err.Error()), http.StatusBadRequest)
			return
		}
		out, err := f(ctx, r, in)
		if err != nil {
			http.Error(w, brief(err.Error()), status(err)) // it may repeat what it refuses, and who reads it cuts it, too
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(out) // who asked is gone
	})
}

// Paces are those of the calls that anybody makes, by path; never changed.
type paces map[string]*rate.Limiter

func newPaces() paces {
	all := paces{}
	for _, path := range []string{pathHello, pathLook, pathStatus, pathPropose} {
		all[path] = rate.NewLimiter(pace, burst)
	}
	return all
}

// paced has a call wait for its turn. Otherwise they who call again and again without a pause take the processors from what
// elects a leader and writes the log. Who has proved to be a peer waits for nobody. Without TLS nobody can, and beats come as
// proposals: these wait for none then, and the other calls only for calls of their kind.
func (n *node) paced(ctx context.Context, r *http.Request, path string) error {
	limit := n.paces[path]
	if limit == nil || n.port.isPeer(r.TLS) && (n.port.certs != nil || path == pathPropose) {
		return nil
	}
	if err := limit.Wait(ctx); err != nil {
		return undone{fmt.Errorf("others make too many calls: %w", err)}
	}
	return nil
}

// admit refuses a body that is too large before it is read. Calls with a large one wait for
// each other, and done ends such a call: so the calls with a small one, such as beats, never
// wait for them, and all of them together take a bounded amount of memory.
func (n *node) admit(ctx context.Context, r *http.Request, path string) (done func(), err error) {
	most := int64(maxSmall)
	if path == pathPropose && n.port.isPeer(r.TLS) {
		most = maxBody
	}
	switch {
	case r.ContentLength < 0:
		return nil, fmt.Errorf("%w: the request does not say how long it is", errTooLarge)
	case r.ContentLength > most:
		return nil, fmt.Errorf("%w: %s takes a body of %d bytes from who calls, the request has %d", errTooLarge, path, most, r.ContentLength)
	case r.ContentLength <= maxSmall:
		return func() {}, nil
	}
	ctx, stop := context.WithTimeout(ctx, n.config.forwards())
	defer stop()
	select {
	case n.large <- struct{}{}:
		return func() { <-n.large }, nil
	case <-ctx.Done():
		return nil, undone{errors.New("other calls with a large body have not ended")}
	}
}

// decode reads a body, which was admitted, within greeting.
func decode(w http.ResponseWriter, r *http.Request, in any) error {
	c := http.NewResponseController(w)
	if err := c.SetReadDeadline(time.Now().Add(greeting)); err != nil {
		return err
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, r.ContentLength)).Decode(in); err != nil {
		return err
	}
	return c.SetReadDeadline(time.Now().Add(time.Minute))
}

// brief is as much of a text as an error repeats.
func brief(text string) string {
	if len(text) <= maxWords {
		return text
	}
	return strings.ToValidUTF8(text[:maxWords], "") + "..."
}

var (
	errForbidden = errors.New("not allowed with this certificate")
	errTooLarge  = errors.New("too large")
)

func status(err error) int {
	var later *laterError
	switch {
	case errors.As(err, &later):
		return http.StatusConflict
	case errors.Is(err, errTooLarge):
		return http.StatusRequestEntityTooLarge
	case errors.Is(err, errForbidden):
		return http.StatusForbidden
	case errors.Is(err, lock.ErrPermanent):
		return http.StatusUnprocessableEntity
	case errors.Is(err, errNotApplied):
		return statusNo
	}
	return http.StatusServiceUnavailable
}

// onlyPeers refuses who has no peer's certificate.
func (n *node) onlyPeers(r *http.Request, what string) error {
	if n.port.isPeer(r.TLS) {
		return nil
	}
	return fmt.Errorf("%w: to %s takes one that names a peer's ID, yours names %s", errForbidden, what, certs.Names(r.TLS.PeerCertificates[0]))
}

// operators are the commands of who has no peer's certificate, beside Nothing.
var operators = []ledger.Op{
	ledger.Ask, ledger.Raise, ledger.Adopt, ledger.Pause, ledger.Resume, ledger.Configure, ledger.Configured, ledger.History,
}

func (n *node) servePropose(ctx context.Context, r *http.Request, e entry) (ledger.Result, error) {
	if op := e.Command.Op; op != ledger.Nothing && !slices.Contains(operators, op) {
		if err := n.onlyPeers(r, string(e.Command.Op)); err != nil {
			return ledger.Result{}, err
		}
	}
	if e.Format > format {
		return ledger.Result{}, lock.Permanent(fmt.Errorf("proposal has format %d, node %q reads up to %d", e.Format, n.config.ID, format))
	}
	if err := n.serves(); err != nil {
		return ledger.Result{}, err
	}
	carry := n.apply
	if r.URL.Query().Get("at") != "leader" {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, n.config.forwards())
		defer stop()
		carry = n.propose
	}
	result, err := carry(ctx, e.Command)
	result.Why = brief(result.Why) // it may repeat what it refuses
	return result, err
}

func (n *node) serveLook(ctx context.Context, _ *http.Request, q question) (view, error) {
	if err := n.serves(); err != nil {
		return view{}, err
	}
	ctx, stop := context.WithTimeout(ctx, poll)
	defer stop()
	v, err := n.machine.look(ctx, q.After, q.Roles...)
	if err != nil && ctx.Err() != nil {
		return view{}, nil // its caller asks again
	}
	return v, err
}

// serves sends who asks to another peer where this one is frozen, or was taken out: its own reason is not
// the group's.
func (n *node) serves() error {
	if d := n.out.Load(); d != nil {
		return undone{fmt.Errorf("node %q serves nothing: it was taken out of the group; name a member in the list of peers, such as %s", n.config.ID, d.leader)}
	}
	if err := n.machine.err(); err != nil {
		return undone{fmt.Errorf("node %q serves nothing: %v", n.config.ID, err)} //nolint:errorlint // what ends this node ends no other
	}
	return nil
}

func (n *node) serveHello(ctx context.Context, _ *http.Request, h hello) (hello, error) {
	n.compare(h)
	answer, err := n.hello()
	n.reply(ctx, h, &answer)
	return answer, err
}

func (n *node) serveJoin(ctx context.Context, r *http.Request, c candidate) (welcome, error) {
	m, ok := n.find(c.ID)
	if !n.running() {
		return welcome{}, errNoLeader
	}
	if !ok {
		return welcome{}, undone{fmt.Errorf("%q is not a member of the group: let it in by understudy raft member add %s=HOST:PORT", c.ID, c.ID)}
	}
	if err := n.onlyPeers(r, "join"); err != nil {
		return welcome{}, err
	}
	if !n.leading() && r.URL.Query().Get("at") != "leader" {
		var w welcome
		return w, n.toLeader(ctx, pathJoin+onlyLeader+"&phase="+r.URL.Query().Get("phase"), c, &w)
	}
	c.Peer = n.peer(c.ID)
	return welcome{n.dir.read().Group}, n.change(ctx, c, m, r.URL.Query().Get("phase"))
}

// serveElect makes this node stand for election at once where the leader that it knows
// is said to be dead, and says who leads then: nobody, where that took too long. The
// library takes it for a leader's word that hands over, so that the others vote although
// the dead one was heard a moment ago.
func (n *node) serveElect(ctx context.Context, r *http.Request, dead hello) (hello, error) {
	if err := n.onlyPeers(r, "call an election"); err != nil {
		return hello{}, err
	}
	if !n.running() {
		return hello{}, undone{errors.New("raft does not run yet")}
	}
	me := n.config.peer(n.config.ID)
	if _, leader := n.raft.LeaderWithID(); string(leader) == dead.Leader || leader == "" {
		header := raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(me.ID), Addr: []byte(me.Address)}
		err := n.transport.TimeoutNow(raft.ServerID(me.ID), raft.ServerAddress(me.Address), &raft.TimeoutNowRequest{RPCHeader: header}, &raft.TimeoutNowResponse{})
		if err != nil {
			return hello{}, err
		}
	}
	for end := time.Now().Add(max(electing, 2*MaxTrip(n.config.timing()))); time.Now().Before(end) && ctx.Err() == nil; time.Sleep(time.Millisecond) {
		if _, leader := n.raft.LeaderWithID(); leader != "" && string(leader) != dead.Leader {
			return hello{Leader: string(leader)}, nil
		}
	}
	return hello{}, nil
}
