//go:build kubernetes

package kubernetes_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backends/kubernetes"
	"github.com/understudy-ha/understudy/backends/object"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/internal/lab/serve"
	"github.com/understudy-ha/understudy/internal/lab/servers"
	"github.com/understudy-ha/understudy/lock"
)

// TestAccess is all that takes an API server which nobody kills.
func TestAccess(t *testing.T) {
	r := start(t)
	for name, test := range map[string]func(*testing.T, *rig){
		"Shown": testShown, "Foreign": testForeign, "Elector": testElector, "Rights": testRights, "Blank": testBlank,
		"Deleted": testDeleted, "TooLarge": testTooLarge, "TLS": testTLS, "Certificate": testCertificate, "Token": testToken,
	} {
		t.Run(name, func(t *testing.T) { test(t, &rig{t, r.Cluster, r.account}) })
	}
}

// testShown: kubectl shows who is active, and what others have put on the Lease stays.
func testShown(t *testing.T, r *rig) {
	ctx := within(t, time.Minute)
	l := open(t, r.manager("shown"))
	a, b := register(t, ctx, l, "a"), register(t, ctx, l, "b")
	if now := r.lease("shown").Spec; now.HolderIdentity != "" {
		t.Errorf("%+v: nobody is active", now)
	}
	token, err := a.TryAcquire(ctx, "r")
	must(t, err)
	if now := r.lease("shown").Spec; now.HolderIdentity != "a" || now.LeaseDurationSeconds != 10 || now.LeaseTransitions != 1 {
		t.Errorf("%+v: a is active, for the first time", now)
	}
	r.hand(http.MethodPatch, leases+"/shown", `{"metadata": {"labels": {"team": "billing"}, "annotations": {"note": "hello"}}}`)
	must(t, a.Handoff(ctx, "r", token, b.ID()))
	now := r.lease("shown")
	if now.Spec.HolderIdentity != "b" || now.Spec.LeaseTransitions != 2 {
		t.Errorf("%+v: b is active, after a", now.Spec)
	}
	if now.Metadata.Labels["team"] != "billing" || now.Metadata.Annotations["note"] != "hello" {
		t.Errorf("%+v: what others have put there is gone", now.Metadata)
	}
}

// testForeign: what another elector holds, and what is newer, is named and left alone.
func testForeign(t *testing.T, r *rig) {
	at := time.Now().UTC().Format("2006-01-02T15:04:05.000000Z")
	r.hand(http.MethodPost, leases, fmt.Sprintf(`{"metadata": {"name": "foreign"}, "spec": {"holderIdentity": "pod-7_uid",
		"leaseDurationSeconds": 15, "acquireTime": %q, "renewTime": %[1]q, "leaseTransitions": 3}}`, at))
	r.hand(http.MethodPost, leases, fmt.Sprintf(`{"metadata": {"name": "newer", "annotations": {
		"understudy-ha.github.io/record": "{\"Store\": \"understudy\", \"Format\": 99}", "understudy-ha.github.io/write": "%s/x"}}, "spec": {"renewTime": %[1]q}}`, at))
	for name, want := range map[string]error{"foreign": object.ErrForeign, "newer": object.ErrNewer} {
		before := r.lease(name).Metadata.ResourceVersion
		err := first(t, r.manager(name))
		if !errors.Is(err, want) || !errors.Is(err, lock.ErrPermanent) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
		if name == "foreign" && !strings.Contains(err.Error(), `held by "pod-7_uid"`) {
			t.Errorf("%v: it does not say who holds the Lease", err)
		}
		if now := r.lease(name).Metadata.ResourceVersion; now != before {
			t.Errorf("%s was written", name)
		}
	}
}

// testElector: another elector that takes the Lease while it is ours is named, and left alone.
func testElector(t *testing.T, r *rig) {
	ctx := within(t, time.Minute)
	s := register(t, ctx, open(t, r.manager("elector")), "a")
	r.hand(http.MethodPatch, leases+"/elector", `{"spec": {"holderIdentity": "pod-7_uid", "renewTime": "2026-01-02T03:04:05.678901Z"}}`)
	err := until(ctx, beat(s))
	if !errors.Is(err, object.ErrForeign) || !errors.Is(err, lock.ErrPermanent) || !strings.Contains(err.Error(), `held by "pod-7_uid"`) {
		t.Error(err)
	}
	if now := r.lease("elector").Spec.HolderIdentity; now != "pod-7_uid" {
		t.Errorf("%q holds it now", now)
	}
}

// testRights: a right that is missing is named by the API server, and the page by us.
func testRights(t *testing.T, r *rig) {
	err := first(t, r.config("another"))
	if !errors.Is(err, lock.ErrPermanent) || !strings.Contains(err.Error(), "docs/kubernetes.md") || !strings.Contains(err.Error(), `cannot get resource "leases"`) {
		t.Error(err)
	}
	c := r.config("")
	if err := first(t, c); err != nil {
		t.Errorf("with the rights of the page: %v", err)
	}
	c = r.manager("")
	c.Namespace = "nowhere"
	if err := first(t, c); !errors.Is(err, lock.ErrPermanent) || !strings.Contains(err.Error(), "there is no namespace nowhere") {
		t.Error(err)
	}
}

// testBlank: an operator may make the Lease, so that nobody else needs the right to.
func testBlank(t *testing.T, r *rig) {
	r.hand(http.MethodPost, leases, `{"metadata": {"name": "blank", "annotations": {"note": "hello"}}}`)
	if err := first(t, r.manager("blank")); err != nil {
		t.Error(err)
	}
	if now := r.lease("blank").Metadata.Annotations["note"]; now != "hello" {
		t.Errorf("the note says %q", now)
	}
	r.hand(http.MethodPost, leases, `{"metadata": {"name": "bare"}}`)
	if err := first(t, r.manager("bare")); err != nil {
		t.Error(err)
	}
}

// testDeleted: the session is lost, and no token comes back.
func testDeleted(t *testing.T, r *rig) {
	ctx := within(t, time.Minute)
	l := open(t, r.manager("deleted"))
	a := register(t, ctx, l, "a")
	before, err := a.TryAcquire(ctx, "r")
	must(t, err)
	for range 20 {
		must(t, a.Beat(ctx))
	}
	r.hand(http.MethodDelete, leases+"/deleted", "")
	if err := until(ctx, beat(a)); err == nil {
		t.Error("a beat succeeded on a Lease that is not there")
	}
	b := register(t, ctx, open(t, r.manager("deleted")), "b")
	after, err := b.TryAcquire(ctx, "r")
	if err != nil || after <= before+20 {
		t.Errorf("token %d, %v; before it was %d", after, err, before)
	}
}

// testTooLarge: nothing is sent that the API server would refuse, and the error has the number.
func testTooLarge(t *testing.T, r *rig) {
	ctx := within(t, time.Minute)
	l := open(t, r.manager("large"))
	register(t, ctx, l, "a")
	before := r.lease("large").Metadata.ResourceVersion
	for n := 0; ; n++ {
		c := lock.Contender{ID: fmt.Sprint(n), Session: lock.SessionID(fmt.Sprint("s", n)), Labels: lab.Labels(16)}
		_, err := l.Register(ctx, c, lock.Promise{TTL: 10 * time.Second, Skew: time.Second})
		if errors.Is(err, object.ErrTooLarge) && errors.Is(err, lock.ErrPermanent) && strings.Contains(err.Error(), "at most 215040") {
			break
		}
		if err != nil || n > 100 {
			t.Fatalf("%d contenders: %v", n, err)
		}
		before = r.lease("large").Metadata.ResourceVersion
	}
	if now := r.lease("large").Metadata.ResourceVersion; now != before {
		t.Error("what is too large was sent")
	}
}

// testTLS: the server's certificate is checked, its name too.
func testTLS(t *testing.T, r *rig) {
	_, others := serve.CA(t)
	for name, c := range map[string]struct{ ca, more, want string }{
		"another authority": {others.CA, "", "signed by none of the authorities"},
		"another name":      {r.Members[0].CAFile(), `, tls-server-name: "somebody.else"`, "somebody.else"},
	} {
		file := filepath.Join(t.TempDir(), "kubeconfig")
		text := servers.Kubeconfig(r.Members[0].Addr(), c.ca, "token: manager")
		must(t, os.WriteFile(file, []byte(strings.Replace(text, "}}]", c.more+"}}]", 1)), 0o600))
		err := first(t, kubernetes.Config{Kubeconfig: file})
		if !errors.Is(err, lock.ErrPermanent) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// testCertificate: a user may be one by certificate. Who it is is its subject.
func testCertificate(t *testing.T, r *rig) {
	r.hand(http.MethodPost, rbac+"rolebindings", `{"metadata": {"name": "kubernetes"}, "subjects": [{"kind": "User", "name": "kubernetes"}],
		"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "billing"}}`)
	data := r.Members[0].Data() // the server's own certificate is a client's, too
	file := filepath.Join(t.TempDir(), "kubeconfig")
	user := fmt.Sprintf("client-certificate: %q, client-key: %q", filepath.Join(data, "kubernetes.pem"), filepath.Join(data, "kubernetes.key"))
	must(t, os.WriteFile(file, []byte(servers.Kubeconfig(r.Members[0].Addr(), r.Members[0].CAFile(), user)), 0o644))
	c := kubernetes.Config{Kubeconfig: file, Namespace: "ops"}
	lab.Eventually(t, "the binding is known", func() bool { return first(t, c) == nil })
}

// testToken: a token that is not known is refused by name; one that is replaced needs no restart.
func testToken(t *testing.T, r *rig) {
	dir := t.TempDir()
	must(t, os.CopyFS(dir, os.DirFS(r.account)))
	file := filepath.Join(dir, "token")
	c := r.config("")
	c.ServiceAccount = dir
	good, err := os.ReadFile(file)
	must(t, err)
	must(t, os.WriteFile(file, []byte("wrong"), 0o644))
	if err := first(t, c); !errors.Is(err, lock.ErrPermanent) || !strings.Contains(err.Error(), "401") || !strings.Contains(err.Error(), dir) {
		t.Errorf("a wrong token: %v", err)
	}
	must(t, os.WriteFile(file, good, 0o644))
	ctx := within(t, time.Minute)
	s := register(t, ctx, open(t, c), "a")
	r.hand(http.MethodDelete, accounts+"/billing", "") // and with it its tokens
	r.hand(http.MethodPost, accounts, `{"metadata": {"name": "billing"}}`)
	lab.Eventually(t, "the old token is refused", func() bool {
		short := within(t, time.Second)
		err := s.Beat(short)
		if errors.Is(err, lock.ErrPermanent) {
			t.Fatalf("%v: it is being replaced", err)
		}
		return errors.Is(err, lock.ErrRefused) && strings.Contains(err.Error(), "401")
	})
	must(t, os.WriteFile(file, []byte(r.token()), 0o644))
	must(t, until(ctx, beat(s)))
	r.mount()
}
