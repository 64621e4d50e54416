package consul

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/understudy-ha/understudy/backends/kv"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/internal/lab/serve"
	"github.com/understudy-ha/understudy/internal/lab/servers"
	"github.com/understudy-ha/understudy/lock"
)

// walk takes a session through every call of the contract.
func walk(t testing.TB, c Config, name string) error {
	ctx := timeout(t, 10*time.Second)
	l, err := Open(ctx, c)
	must(t, err)
	defer func() { must(t, l.Close()) }()
	return lab.Walk(ctx, l, name)
}

func TestEveryCall(t *testing.T) { must(t, walk(t, Config{Address: shared.Members[0].Addr()}, "a")) }

const root = "5f1ccbd2-6a5d-4e0f-8b0f-2f6c1f6f1c11"

// keys and sessions are the policy in docs/consul.md.
const keys, sessions = `key_prefix "understudy/" { policy = "write" }`, `session_prefix "" { policy = "write" }`

// issue makes a token with one policy.
func issue(t *testing.T, c *servers.Cluster, name, rules string) string {
	t.Helper()
	acl := raw(t, c.Members[0].Addr(), root).ACL()
	policy, _, err := acl.PolicyCreate(&api.ACLPolicy{Name: name, Rules: rules}, nil)
	must(t, err)
	token, _, err := acl.TokenCreate(&api.ACLToken{Policies: []*api.ACLTokenPolicyLink{{ID: policy.ID}}}, nil)
	must(t, err)
	return token.SecretID
}

func tokenFile(t *testing.T, text string) string {
	path := filepath.Join(t.TempDir(), "token")
	must(t, os.WriteFile(path, []byte(text+"\n"), 0o600))
	return path
}

// TestLeastPrivilege walks through the contract with exactly the policy in
// docs/consul.md, and expects each refusal to be named.
func TestLeastPrivilege(t *testing.T) {
	c := start(t, 1, servers.Options{Token: root, Config: `acl {
		enabled = true
		default_policy = "deny"
		tokens { initial_management = "` + root + `" }
	}`})
	page, err := os.ReadFile("../../docs/consul.md")
	must(t, err)
	for _, rule := range []string{keys, sessions} {
		if !strings.Contains(string(page), rule) {
			t.Errorf("docs/consul.md does not say %s", rule)
		}
	}
	good := issue(t, c, "good", keys+sessions)
	config := Config{Address: c.Members[0].Addr(), TokenFile: tokenFile(t, good)}
	must(t, walk(t, config, "a"))
	must(t, walk(t, Config{Address: config.Address, Token: good}, "text"))
	// It may not ask who is healthy, which is not an error, and leaves that open.
	if servers, err := Inspect(t.Context(), config); err != nil || len(servers.Members) != 1 || servers.Healthy != nil {
		t.Errorf("%+v, %v", servers, err)
	}

	unknown := "11111111-2222-3333-4444-555555555555"
	for _, test := range []struct{ what, token, prefix, want string }{
		{"another prefix", good, "elsewhere", `key_prefix "elsewhere/" write`},
		{"no right to sessions", issue(t, c, "keys", keys), "", "session:write"},
		{"no right to write", issue(t, c, "reads", `key_prefix "" { policy = "read" }`+sessions), "", "key:write"},
		{"an unknown token", unknown, "", "TokenFile: consul: it does not know the token"},
		{"no token", "", "", "TokenFile: "},
	} {
		other := Config{Address: config.Address, Prefix: test.prefix}
		if test.token != "" {
			other.TokenFile = tokenFile(t, test.token)
		}
		err := walk(t, other, "b")
		if !errors.Is(err, lock.ErrPermanent) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want ErrPermanent with %q", test.what, err, test.want)
		}
		if err != nil && test.token != "" && strings.Contains(err.Error(), test.token) {
			t.Errorf("%s: the error shows the token: %v", test.what, err)
		}
		s := open(t, other) // what may not be read is not an empty store
		_, err = s.Read(timeout(t, 5*time.Second), kv.DefaultPrefix)
		if may := test.token == good || strings.HasPrefix(test.what, "no right"); may != (err == nil) || !may && !errors.Is(err, lock.ErrPermanent) {
			t.Errorf("%s: read: %v", test.what, err)
		}
	}

	t.Run("a token file is read again", func(t *testing.T) {
		file := tokenFile(t, unknown)
		s, ctx := open(t, Config{Address: config.Address, TokenFile: file}), timeout(t, 5*time.Second)
		if _, err := s.Read(ctx, "understudy/a"); !errors.Is(err, lock.ErrPermanent) {
			t.Error(err)
		}
		must(t, os.WriteFile(file, []byte(good), 0o600))
		_, err := s.Read(ctx, "understudy/a")
		must(t, err)
		must(t, os.WriteFile(file, nil, 0o600)) // on its way to be replaced
		_, err = s.Read(ctx, "understudy/a")
		must(t, err)
	})
}

// TestTLS speaks to a server that asks for certificates, with a right one, after
// it was replaced, and with each that is wrong.
func TestTLS(t *testing.T) {
	ca, server := serve.CA(t)
	c := start(t, 1, servers.Options{TLS: &server})
	files, err := ca.Issue("client", time.Now().Add(time.Hour))
	must(t, err)
	config := Config{Address: c.Members[0].Addr(), CAFile: files.CA, CertFile: files.Cert, KeyFile: files.Key}
	s := open(t, config)
	_, err = ca.Issue("client", time.Now().Add(-time.Minute))
	must(t, err)
	if _, err := Open(t.Context(), config); err == nil || !strings.Contains(err.Error(), "expired at") {
		t.Errorf("an expired certificate at the start: %v", err)
	}
	refused := func(what string, s *store, want string) {
		t.Helper()
		ctx := timeout(t, 10*time.Second)
		for { // a refusal may be told by a connection that just breaks
			_, err := s.Read(ctx, "a")
			if errors.Is(err, lock.ErrPermanent) && strings.Contains(err.Error(), want) {
				return
			}
			if err == nil || ctx.Err() != nil || errors.Is(err, lock.ErrPermanent) {
				t.Errorf("%s: %v, want ErrPermanent with %q", what, err, want)
				return
			}
		}
	}
	refused("an expired certificate", s, "CertFile: ")
	_, err = ca.Issue("client", time.Now().Add(time.Hour))
	must(t, err)
	_, err = s.Read(timeout(t, 10*time.Second), "a") // the very store, with the files as they are now
	must(t, err)
	must(t, walk(t, config, "a"))

	// Who has worked is not to end for a certificate that runs out: it may be renewed.
	_, err = ca.Issue("client", time.Now().Add(-time.Minute))
	must(t, err)
	for ctx := timeout(t, 10*time.Second); err == nil || !strings.Contains(err.Error(), "CertFile: "); {
		s.idle() // a connection that stands is not asked again
		if _, err = s.Read(ctx, "a"); ctx.Err() != nil {
			t.Fatalf("expired while it worked: %v", err)
		}
	}
	if errors.Is(err, lock.ErrPermanent) {
		t.Errorf("expired while it worked: %v", err)
	}
	_, err = ca.Issue("client", time.Now().Add(time.Hour))
	must(t, err)

	named := config
	named.ServerName = "elsewhere"
	refused("another name", open(t, named), `ServerName: tls: the server's certificate is not for "elsewhere"`)
	named.ServerName = "server"
	_, err = open(t, named).Read(timeout(t, 10*time.Second), "a")
	must(t, err)

	_, stranger := serve.CA(t)
	refused("an unknown authority", open(t, Config{Address: config.Address, CAFile: stranger.CA, CertFile: files.Cert, KeyFile: files.Key}), "CAFile: ")
	refused("a stranger's certificate", open(t, Config{Address: config.Address, CAFile: files.CA, CertFile: stranger.Cert, KeyFile: stranger.Key}), "CertFile: ")
	refused("no certificate", open(t, Config{Address: config.Address, CAFile: files.CA}), "CertFile and KeyFile: consul: the agent refuses us without a certificate, and none is given")
	refused("no TLS", open(t, Config{Address: "http://" + config.Address}), "https://")
}

// TestAuthorityIsReplaced: the files, the server's too, are another authority's from now on, and who has worked works on.
func TestAuthorityIsReplaced(t *testing.T) {
	ca, server := serve.CA(t)
	c := start(t, 1, servers.Options{TLS: &server})
	ours, err := ca.Issue("ours", time.Now().Add(time.Hour))
	must(t, err)
	s := open(t, Config{Address: c.Members[0].Addr(), CAFile: ours.CA, CertFile: ours.Cert, KeyFile: ours.Key})
	_, err = s.Read(timeout(t, 10*time.Second), "a")
	must(t, err)

	must(t, ca.Replace("server", "ours"))
	c.Members[0].Kill()
	must(t, c.Members[0].Restart(timeout(t, time.Minute)))
	for ctx := timeout(t, 20*time.Second); ; { // its connection is gone, which the first call may be told
		if _, err = s.Read(ctx, "a"); err == nil || ctx.Err() != nil {
			break
		}
	}
	must(t, err)
}

func TestValidate(t *testing.T) {
	must(t, Config{}.Validate())
	open := filepath.Join(t.TempDir(), "open")
	must(t, os.WriteFile(open, []byte("x"), 0o644))
	err := Config{Address: "nowhere", Prefix: "/a", TokenFile: open, CertFile: "x", CAFile: "none"}.Validate()
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		`Address: "nowhere" is not an agent's address; write HOST:PORT`, "Prefix: ", "TokenFile: ",
		"chmod 600", "CertFile and KeyFile: ", "CAFile: ",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
	_, err = Open(context.Background(), Config{Address: "http://127.0.0.1:8500", CAFile: open})
	if err == nil || !strings.Contains(err.Error(), "https://127.0.0.1:8500") {
		t.Error(err)
	}
}
