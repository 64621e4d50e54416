package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/understudy-ha/understudy/backends"
	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/internal/cli"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/internal/lab/servers"
	"github.com/understudy-ha/understudy/internal/lab/stores"
)

// Credentials are what a store knows of its contenders, and may forget.
type credentials struct {
	store func(r *trio) (c backends.Config, a superuser)
	lose  func(superuser) error
	back  func(superuser) error
	says  string // what the error says, in the store's own words where it has any
	lasts bool   // it may pass by itself, so nobody gives up
}

// A superuser may do everything in a store. One of both is nil.
type superuser struct {
	ctx    context.Context
	etcd   *clientv3.Client
	consul *api.Client
	token  string // Consul's, of the contenders
	policy string // what that may
}

// TestRevoked takes the credentials of running processes away. What is given back in time costs nothing. Otherwise the
// active stops when its promise is over, each process says once what the store said, and goes on trying where that may
// pass; where not, it ends with the reason a ttl later.
func TestRevoked(t *testing.T) {
	t.Parallel()
	program := filepath.Join(shipped(t), "understudy")
	for name, c := range map[string]credentials{
		"etcd, the permission": {store: etcdWithUsers, says: "etcdserver: permission denied", lose: func(a superuser) error {
			_, err := a.etcd.RoleRevokePermission(a.ctx, "understudy", "understudy/", clientv3.GetPrefixRangeEnd("understudy/"))
			return err
		}, back: grantRole},
		"etcd, the role": {store: etcdWithUsers, says: "etcdserver: permission denied", lose: func(a superuser) error {
			_, err := a.etcd.UserRevokeRole(a.ctx, "billing", "understudy")
			return err
		}, back: func(a superuser) error { _, err := a.etcd.UserGrantRole(a.ctx, "billing", "understudy"); return err }},
		"etcd, the user": {store: etcdWithUsers, says: "or have the user back: etcd", lasts: true, lose: func(a superuser) error {
			_, err := a.etcd.UserDelete(a.ctx, "billing")
			return err
		}, back: addUser},
		"etcd, the password": {store: etcdWithUsers, says: "etcdserver: authentication failed", lasts: true, lose: func(a superuser) error {
			_, err := a.etcd.UserChangePassword(a.ctx, "billing", "another")
			return err
		}, back: func(a superuser) error { _, err := a.etcd.UserChangePassword(a.ctx, "billing", "hunter2"); return err }},
		"Consul, the token": {store: consulWithTokens, says: "ACL not found", lasts: true, lose: func(a superuser) error {
			self, _, err := a.consul.ACL().TokenReadSelf(&api.QueryOptions{Token: a.token})
			if err == nil {
				_, err = a.consul.ACL().TokenDelete(self.AccessorID, nil)
			}
			return err
		}, back: issueToken},
		"Consul, the policy": {store: consulWithTokens, says: "the token may not do that", lose: func(a superuser) error {
			_, _, err := a.consul.ACL().PolicyUpdate(&api.ACLPolicy{ID: a.policy, Name: "understudy"}, nil)
			return err
		}, back: func(a superuser) error {
			_, _, err := a.consul.ACL().PolicyUpdate(&api.ACLPolicy{ID: a.policy, Name: "understudy", Rules: consulRights}, nil)
			return err
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testRevoked(t, program, c)
		})
	}
}

func testRevoked(t *testing.T, program string, c credentials) {
	var a superuser
	r := newTrioOn(t, func(r *trio) (backends.Config, []string) {
		var store backends.Config
		store, a = c.store(r)
		return store, (&stores.Store{Config: store}).Flags()
	})
	r.ttl, r.program = 12*time.Second, program
	r.startAll("--heartbeat", "200ms")
	now := r.settled()

	must(t, c.lose(a)) // and find it in time
	r.awaitLog(now.id, "the store refuses a call")
	must(t, c.back(a))
	r.awaitLog(now.id, "the store no longer refuses the call")
	if next := r.active(0); next.token != now.token {
		t.Errorf("token %d after %d: what was cured in time has ended a term", next.token, now.token)
	}
	r.handOver()
	now = r.settled()

	must(t, c.lose(a)) // for longer than its promise
	lost := coordinator.Clocks().Mono
	r.awaitIdle()
	if worked := r.stamped() - lost; worked > r.ttl {
		t.Errorf("%s worked on for %v, longer than its promise of %v", now.id, worked, r.ttl)
	}
	if c.lasts {
		time.Sleep(2 * r.ttl) // longer than anything that lasts ends a process
		must(t, c.back(a))
		began := time.Now()
		r.active(now.token)
		if took := time.Since(began); took > r.ttl {
			t.Errorf("nobody was active for %v after the cure", took)
		}
	}
	for _, id := range r.ids {
		if !c.lasts {
			if code := r.ended(id).ExitCode(); code != cli.Usage {
				t.Errorf("%s ended with code %d, want %d", id, code, cli.Usage)
			}
			if last := strings.TrimSpace(r.log(id)); !strings.Contains(last[strings.LastIndex(last, "understudy: "):], c.says) {
				t.Errorf("%s ended without the store's words %q", id, c.says)
			}
		}
		if n := r.warned(id, c.says); n == 0 || n > 8 { // each kind of call once
			t.Errorf("%s warns %d times that the store refuses a call", id, n)
		}
		if last := r.lastLine(id, "active=unknown"); !strings.Contains(last, c.says) {
			t.Errorf("the last heartbeat of %s without an active does not say why: %s", id, last)
		}
	}
	if c.lasts {
		r.eventually("why has what the store said", func() bool { // the former active writes it a while after its return
			_, text := r.operate("why", "--role", "r")
			return strings.Contains(text, c.says)
		})
		r.finish()
	}
	r.judge()
}

// warned is how often a wrapper has logged a refusal in these words.
func (r *trio) warned(id, words string) (n int) {
	for line := range strings.Lines(r.log(id)) {
		if strings.Contains(line, `level=WARN msg="the store refuses a call"`) && strings.Contains(line, words) {
			n++
		}
	}
	return n
}

// etcdWithUsers starts etcd with the user and the role of docs/etcd.md.
func etcdWithUsers(r *trio) (backends.Config, superuser) {
	c, err := servers.StartEtcd(lab.Within(r.t, time.Minute), filepath.Join(r.dir, "etcd"), 1, servers.Options{Args: []string{"--bcrypt-cost=4"}})
	must(r.t, err)
	r.t.Cleanup(c.Stop)
	r.cluster = c
	config := clientv3.Config{Endpoints: c.Addresses(), Logger: zap.NewNop()}
	open, err := clientv3.New(config)
	must(r.t, err)
	defer open.Close()
	ctx := lab.Within(r.t, 5*time.Minute)
	for _, do := range []func() error{
		func() error { _, err := open.UserAdd(ctx, "root", "rootpw"); return err },
		func() error { _, err := open.UserGrantRole(ctx, "root", "root"); return err },
		func() error { _, err := open.RoleAdd(ctx, "understudy"); return err },
		func() error { return grantRole(superuser{ctx: ctx, etcd: open}) },
		func() error { return addUser(superuser{ctx: ctx, etcd: open}) },
		func() error { _, err := open.AuthEnable(ctx); return err },
	} {
		must(r.t, do())
	}
	config.Username, config.Password = "root", "rootpw"
	root, err := clientv3.New(config)
	must(r.t, err)
	r.t.Cleanup(func() { _ = root.Close() })
	store := backends.Config{Backend: onEtcd}
	store.Etcd.Endpoints = c.Addresses()
	store.Etcd.Username, store.Etcd.PasswordFile = "billing", filepath.Join(r.dir, "password")
	must(r.t, os.WriteFile(store.Etcd.PasswordFile, []byte("hunter2\n"), 0o600))
	return store, superuser{ctx: ctx, etcd: root}
}

func grantRole(a superuser) error {
	_, err := a.etcd.RoleGrantPermission(a.ctx, "understudy", "understudy/", clientv3.GetPrefixRangeEnd("understudy/"), clientv3.PermissionType(clientv3.PermReadWrite))
	return err
}

func addUser(a superuser) error {
	_, err := a.etcd.UserAdd(a.ctx, "billing", "hunter2")
	_, err2 := a.etcd.UserGrantRole(a.ctx, "billing", "understudy")
	return errors.Join(err, err2)
}

// consulRights are those of docs/consul.md.
const consulRights = `key_prefix "understudy/" { policy = "write" } session_prefix "" { policy = "write" }`

// consulWithTokens starts Consul with the policy and the token of docs/consul.md.
func consulWithTokens(r *trio) (backends.Config, superuser) {
	const root = "5f1ccbd2-6a5d-4e0f-8b0f-2f6c1f6f1c11"
	c, err := servers.StartConsul(lab.Within(r.t, time.Minute), filepath.Join(r.dir, "consul"), 1, servers.Options{Token: root, Config: `acl {
		enabled = true
		default_policy = "deny"
		tokens { initial_management = "` + root + `" }
	}`})
	must(r.t, err)
	r.t.Cleanup(c.Stop)
	r.cluster = c
	client, err := api.NewClient(&api.Config{Address: c.Members[0].Addr(), Token: root})
	must(r.t, err)
	a := superuser{consul: client, token: "11111111-2222-3333-4444-555555555555"}
	policy, _, err := client.ACL().PolicyCreate(&api.ACLPolicy{Name: "understudy", Rules: consulRights}, nil)
	must(r.t, err)
	a.policy = policy.ID
	must(r.t, issueToken(a))
	store := backends.Config{Backend: onConsul}
	store.Consul.Address = c.Members[0].Addr()
	store.Consul.TokenFile = filepath.Join(r.dir, "token")
	must(r.t, os.WriteFile(store.Consul.TokenFile, []byte(a.token+"\n"), 0o600))
	return store, a
}

// issueToken makes the contenders' token, as an operator does who has deleted it in error.
func issueToken(a superuser) error {
	_, _, err := a.consul.ACL().TokenCreate(&api.ACLToken{SecretID: a.token, Policies: []*api.ACLTokenPolicyLink{{ID: a.policy}}}, nil)
	return err
}
