package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backends/memory"
	"github.com/understudy-ha/understudy/conformance"
	"github.com/understudy-ha/understudy/internal/cli"
	"github.com/understudy-ha/understudy/internal/lab/servers"
	"github.com/understudy-ha/understudy/lock"
)

// ask runs the command line and returns what it printed.
func ask(t *testing.T, want int, args ...string) string {
	t.Helper()
	var out strings.Builder
	if code := execute(t.Context(), append([]string{"probe"}, args...), &out, &out); code != want {
		t.Errorf("%v: exit code %d, want %d\n%s", args, code, want, out.String())
	}
	return out.String()
}

// TestProbe: a healthy store can hold a lock, and nothing is left there; one that is too far away for the ttl cannot.
func TestProbe(t *testing.T) {
	server, flags := serve(t, "etcd")
	keys := etcdKeys(t, server.Members[0].Addr())
	if text := ask(t, 0, flags...); strings.Count(text, "\nyes  ") != len(probed)+1 || !strings.Contains(text, "\nyes: etcd can hold a lock\n") {
		t.Error(text)
	}
	if left := keys.all(); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	way, err := servers.StartProxy(server.Members[0].Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(way.Close)
	way.Far(60*time.Millisecond, 0)
	text := ask(t, cli.NotDone, "--backend", "etcd", "--etcd-endpoints", way.Addr(), "--ttl", "200ms")
	for _, want := range []string{"NO          a write takes ", "raise --ttl to ", "no: etcd cannot hold a lock as it is"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not said:\n%s", want, text)
		}
	}
}

// TestProbeInput is what it refuses, and what it could not try.
func TestProbeInput(t *testing.T) {
	if text := ask(t, cli.Usage, "--backend", "memory", "--ttl", "1ms"); !strings.Contains(text, "ttl: 1ms must be from 100ms") {
		t.Error(text)
	}
	if text := ask(t, cli.Unavailable, "--backend", "etcd", "--etcd-endpoints", "127.0.0.1:1"); !strings.Contains(text, "connection refused") {
		t.Error(text)
	}
	server, _ := serve(t, "etcd")
	text := ask(t, cli.Usage, "--backend", "etcd", "--etcd-endpoints", "https://"+server.Members[0].Addr()) // another prefix would not help
	if !strings.Contains(text, "etcd-endpoints: etcd does not speak TLS at https://"+server.Members[0].Addr()+"; write http://") || strings.Contains(text, "prefix below which") {
		t.Error(text)
	}
	if text := ask(t, 0, "--backend", "memory"); !strings.Contains(text, "not tried   ") || !strings.Contains(text, "can hold a lock, as far as that was tried\n") {
		t.Error(text)
	}
}

// TestProbedCasesExist in the suite.
func TestProbedCasesExist(t *testing.T) {
	all := conformance.Suite{}.Cases()
	for _, p := range probed {
		if !slices.Contains(all, p.name) {
			t.Errorf("there is no case %q", p.name)
		}
	}
}

// lenient is a store that ignores the condition of a write: every contender that asks for a role gets it.
type lenient struct{ lock.Locker }

func (l lenient) Register(ctx context.Context, c lock.Contender, p lock.Promise, bids ...lock.Bid) (lock.Session, error) {
	s, err := l.Locker.Register(ctx, c, p, bids...)
	if err != nil {
		return nil, err
	}
	return lenientSession{s}, nil
}

type lenientSession struct{ lock.Session }

func (s lenientSession) TryAcquire(ctx context.Context, role string) (lock.Token, error) {
	token, err := s.Session.TryAcquire(ctx, role)
	var held *lock.HeldError
	if errors.As(err, &held) {
		return held.Token, nil
	}
	return token, err
}

// TestProbeOfAStoreThatLetsTwoIn says no, and what was seen.
func TestProbeOfAStoreThatLetsTwoIn(t *testing.T) {
	c := check{}
	c.suite.Only = onlyProbed()
	c.suite.Lacks = inOneLedger(map[conformance.Fault]string{conformance.Cut: sameProcess, conformance.CutReplies: sameProcess, conformance.CutRequests: sameProcess, conformance.Refuse: sameProcess, conformance.Restart: sameProcess, conformance.Pause: sameProcess, conformance.KillLeader: sameProcess})
	c.suite.New = func(context.Context) (*conformance.Store, error) {
		s := memory.New()
		return &conformance.Store{Open: func(context.Context) (*conformance.Client, error) {
			return &conformance.Client{Locker: lenient{s.Open()}}, nil
		}}, nil
	}
	var out strings.Builder
	no, _, err := c.seen(t.Context(), &out)
	if err != nil || !no || !strings.Contains(out.String(), "NO          "+probed[0].shows) || !strings.Contains(out.String(), "two contenders hold one role") {
		t.Errorf("%v: %s", err, out.String())
	}
}
