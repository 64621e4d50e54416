package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/understudy-ha/understudy/backends"
	"github.com/understudy-ha/understudy/backends/memory"
	"github.com/understudy-ha/understudy/conformance"
	"github.com/understudy-ha/understudy/internal/certs"
	"github.com/understudy-ha/understudy/internal/lab/ways"
	"github.com/understudy-ha/understudy/lock"
)

// Why a fault is not made here.
const (
	notOurs     = "the servers are yours, and not for us to kill"
	onlyLocker  = "nobody reaches the records but through the Locker"
	sameProcess = "the store is this process: there is no network to it"
)

// connectTimeout is how long the store may take to answer before the first case, and
// to forget after the last.
const connectTimeout = 30 * time.Second

// prepare makes the suite one of the chosen store, and returns what removes
// everything that the cases leave.
func (c *check) prepare(ctx context.Context, out io.Writer) (remove func() error, err error) {
	switch row := c.Store.Row(); {
	case row.Servers != nil:
		return c.prepareGiven(ctx, out)
	case row.Inside:
		return c.prepareRaft(ctx)
	}
	c.suite.New = func(context.Context) (*conformance.Store, error) {
		s := memory.New()
		return &conformance.Store{Open: func(context.Context) (*conformance.Client, error) {
			return &conformance.Client{Locker: s.Open()}, nil
		}}, nil
	}
	c.suite.Lacks = inOneLedger(map[conformance.Fault]string{
		conformance.Cut: sameProcess, conformance.CutReplies: sameProcess, conformance.CutRequests: sameProcess, conformance.Refuse: sameProcess,
		conformance.Restart: "the store ends with this process", conformance.Pause: "the store stops with this process",
		conformance.KillLeader: "the store has no leader",
	})
	return func() error { return nil }, nil
}

// inOneLedger is what nobody can do to a ledger, and more.
func inOneLedger(lacks map[conformance.Fault]string) map[conformance.Fault]string {
	lacks[conformance.Compact] = "the ledger keeps no history that a watch reads"
	lacks[conformance.RevokeLease] = "the ledger has no leases"
	lacks[conformance.Leftovers] = "the ledger has no leases: who stands by evicts the silent"
	lacks[conformance.LoseNode] = "the ledger has no machines"
	lacks[conformance.Save] = "a Locker of a ledger shows nothing older than what it has shown"
	for _, f := range []conformance.Fault{conformance.DeleteSession, conformance.DeleteRole, conformance.Overwrite} {
		lacks[f] = onlyLocker
	}
	return lacks
}

// rooms are the settings by which a store gives rights to a part of it.
var rooms = map[string]string{"etcd": "--etcd-prefix", "consul": "--consul-prefix", "kubernetes": "--kubernetes-lease", "s3": "--s3-object"}

// prepareGiven is prepare for servers that are the user's. Each case has a prefix of
// its own, and all of them one that is new.
func (c *check) prepareGiven(ctx context.Context, out io.Writer) (remove func() error, err error) {
	reach := c.Store.Row().Servers(&c.Store)
	given := *reach.Prefix
	root := reach.Join(strings.TrimSuffix(cmp.Or(given, "understudy-conformance"), "/"), rand.Text())
	store := c.Store
	all, err := serversUnder(&store, root).Hand()
	if err != nil {
		return nil, err
	}
	wipe := func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, connectTimeout)
		defer cancel()
		return all.Wipe(ctx)
	}
	if err := wipe(ctx); err != nil { // it is empty: this says whether the store answers us
		err = fmt.Errorf("the store cannot be used: %w", err)
		if name := rooms[store.Backend]; name != "" && given == "" && errors.Is(err, lock.ErrPermanent) && !certs.Failed(err) {
			err = fmt.Errorf("%w; if it may be used below a prefix only, name that by %s", err, name)
		}
		return nil, err
	}
	fmt.Fprintf(out, "everything is under %s, and removed afterwards\n", reach.Join(root, ""))
	var cases atomic.Int64
	c.suite.New = func(context.Context) (*conformance.Store, error) {
		return c.store(reach.Join(root, strconv.FormatInt(cases.Add(1), 10)))
	}
	c.suite.Lacks = map[conformance.Fault]string{
		conformance.Restart: notOurs, conformance.Pause: notOurs, conformance.KillLeader: notOurs,
		conformance.LoseNode:  "the servers' list of machines is yours",
		conformance.Save:      "it would put back your keys, too",
		conformance.Leftovers: "it takes longer than you want to wait until the store itself removes what is left",
		conformance.Compact:   "it would make the store forget the history of your keys too, where it has one",
	}
	if _, ok := all.(keys); !ok {
		for _, f := range []conformance.Fault{conformance.RevokeLease, conformance.DeleteRole, conformance.Overwrite} {
			c.suite.Lacks[f] = "the store keeps all roles and sessions in one value"
		}
		c.suite.Lacks[conformance.Values] = "the store keeps no values"
		c.suite.Slack = 6 * time.Second // in RunAbandoned sixty sessions write that value, and each waits for its turn
	}
	return func() error {
		defer func() { _ = all.Close() }()
		if err := wipe(context.Background()); err != nil {
			return fmt.Errorf("remove what stands under %s: %w", reach.Join(root, ""), err)
		}
		return nil
	}, nil
}

// serversUnder are c's, used under another prefix.
func serversUnder(c *backends.Config, prefix string) backends.Servers {
	s := c.Row().Servers(c)
	*s.Prefix = prefix
	return s
}

// store is what can be done to servers that are the user's.
func (c *check) store(prefix string) (*conformance.Store, error) {
	config := c.Store
	h, err := serversUnder(&config, prefix).Hand()
	if err != nil {
		return nil, err
	}
	s := &conformance.Store{
		Open: func(ctx context.Context) (*conformance.Client, error) {
			w, config := ways.New(), c.Store
			*serversUnder(&config, prefix).Dial = w.Dial
			return w.Client(backends.Dial(ctx, config))
		},
		Close: h.Close, DeleteSession: h.DeleteSession,
	}
	if more, ok := h.(keys); ok {
		s.RevokeLease, s.DeleteRole, s.Overwrite = more.RevokeLease, more.DeleteRole, more.Overwrite
	}
	return s, nil
}

// keys is what a backends.Hand can do besides where each record has a key of its own.
type keys interface {
	RevokeLease(ctx context.Context, id lock.SessionID) error
	DeleteRole(ctx context.Context, role string) error
	Overwrite(ctx context.Context, role string) error
}
