//go:build kubernetes

package kubernetes_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/understudy-ha/understudy/backends/kubernetes"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/internal/lab/servers"
	"github.com/understudy-ha/understudy/lock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var must, within, until, register, beat = lab.Must, lab.Within, lab.Until, lab.Register, lab.Beat

// A rig is a real API server, with a namespace and a service account that has the rights of
// docs/kubernetes.md on the Lease of that name.
type rig struct {
	testing.TB
	*servers.Cluster
	account string // a directory as Kubernetes mounts it into a pod
}

const (
	leases   = "/apis/coordination.k8s.io/v1/namespaces/ops/leases"
	accounts = "/api/v1/namespaces/ops/serviceaccounts"
	rbac     = "/apis/rbac.authorization.k8s.io/v1/namespaces/ops/"
)

func start(t testing.TB) *rig {
	t.Helper()
	c, err := servers.StartKubernetes(within(t, 2*time.Minute), t.TempDir())
	must(t, err)
	t.Cleanup(c.Stop)
	r := &rig{t, c, t.TempDir()}
	r.hand(http.MethodPost, "/api/v1/namespaces", `{"metadata": {"name": "ops"}}`)
	r.hand(http.MethodPost, accounts, `{"metadata": {"name": "billing"}}`)
	r.hand(http.MethodPost, rbac+"rolebindings", `{"metadata": {"name": "billing"},
		"subjects": [{"kind": "ServiceAccount", "name": "billing", "namespace": "ops"}],
		"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "billing"}}`)
	r.allow("understudy")
	r.mount()
	return r
}

// allow lets the account use Leases of these names. It waits until the API server knows.
func (r *rig) allow(names ...string) {
	r.Helper()
	text, err := json.Marshal(names)
	must(r, err)
	role := fmt.Sprintf(`{"metadata": {"name": "billing"}, "rules": [
		{"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create"]},
		{"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "resourceNames": %s, "verbs": ["get", "patch", "watch"]}]}`, text)
	if _, err := r.Members[0].AsManager(r.Context(), http.MethodPut, rbac+"roles/billing", role); err != nil {
		r.hand(http.MethodPost, rbac+"roles", role)
	}
	review := fmt.Sprintf(`{"spec": {"user": "system:serviceaccount:ops:billing", "groups": ["system:serviceaccounts"], "resourceAttributes": {
		"namespace": "ops", "verb": "get", "group": "coordination.k8s.io", "resource": "leases", "name": %q}}}`, names[0])
	lab.Eventually(r, "the role is known", func() bool {
		var answer struct{ Status struct{ Allowed bool } }
		must(r, json.Unmarshal([]byte(r.hand(http.MethodPost, "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)), &answer))
		return answer.Status.Allowed
	})
}

// mount writes what a pod of the account has, with a new token.
func (r *rig) mount() {
	r.Helper()
	ca, err := os.ReadFile(r.Members[0].CAFile())
	must(r, err)
	for name, text := range map[string]string{"ca.crt": string(ca), "namespace": "ops", "token": r.token()} {
		must(r, os.WriteFile(filepath.Join(r.account, name), []byte(text), 0o644))
	}
}

// token has the API server make one for the account.
func (r *rig) token() string {
	r.Helper()
	var answer struct{ Status struct{ Token string } }
	must(r, json.Unmarshal([]byte(r.hand(http.MethodPost, accounts+"/billing/token", `{"spec": {"expirationSeconds": 3600}}`)), &answer))
	return answer.Status.Token
}

// hand makes a request as somebody who may do everything.
func (r *rig) hand(method, path, body string) string {
	r.Helper()
	ctx := within(r, time.Minute)
	answer, err := r.Members[0].AsManager(ctx, method, path, body)
	must(r, err)
	return answer
}

// config is that of a pod of the account.
func (r *rig) config(lease string) kubernetes.Config {
	return kubernetes.Config{ServiceAccount: r.account, Server: "https://" + r.Members[0].Addr(), Lease: lease}
}

// manager is the Config of who may do everything.
func (r *rig) manager(lease string) kubernetes.Config {
	return kubernetes.Config{Kubeconfig: r.Members[0].Kubeconfig(), Namespace: "ops", Lease: lease}
}

// A seen is a Lease as kubectl shows it.
type seen struct {
	Metadata struct {
		ResourceVersion     string
		Annotations, Labels map[string]string
	}
	Spec struct {
		HolderIdentity, RenewTime              string
		LeaseDurationSeconds, LeaseTransitions int
	}
}

func (r *rig) lease(name string) (l seen) {
	r.Helper()
	must(r, json.Unmarshal([]byte(r.hand(http.MethodGet, leases+"/"+name, "")), &l))
	return l
}

func open(t testing.TB, c kubernetes.Config) lock.Locker {
	t.Helper()
	l, err := kubernetes.Open(t.Context(), c)
	must(t, err)
	t.Cleanup(func() { must(t, l.Close()) })
	return l
}

// first is what the first call of a process says.
func first(t testing.TB, c kubernetes.Config) error {
	t.Helper()
	l, err := kubernetes.Open(t.Context(), c)
	return lab.First(t, l, err)
}
