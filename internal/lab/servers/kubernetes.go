package servers

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// StartKubernetes starts an API server of Kubernetes, the first member, on an etcd of its own, the second, and
// returns when it answers. Rights are those of RBAC.
func StartKubernetes(ctx context.Context, dir string) (*Cluster, error) {
	api, err := Path("kubernetes")
	if err != nil {
		return nil, err
	}
	etcd, err := Path("etcd")
	if err != nil {
		return nil, err
	}
	members, err := start(ctx, dir, func(dir string) ([]*Member, error) {
		return kubernetes(api, etcd, dir, "127.0.0.1", "--disable-admission-plugins=ServiceAccount")
	})
	if err != nil {
		return nil, fmt.Errorf("start kube-apiserver: %w", err)
	}
	return &Cluster{Members: members, leads: func(_ context.Context, m *Member) (bool, error) { return m == members[0], nil }}, nil
}

// StartControlPlane starts an API server that listens on an address of this machine, with the members that
// StartKubernetes has, and a controller manager and a scheduler: a cluster without nodes.
func StartControlPlane(ctx context.Context, dir, address string) (*Cluster, error) {
	paths := map[string]string{}
	for _, name := range []string{"kube-apiserver", "etcd", controllers, scheduler} {
		var err error
		if paths[name], err = binary("UNDERSTUDY_"+strings.ToUpper(strings.ReplaceAll(name, "-", "_")), name); err != nil {
			return nil, err
		}
	}
	members, err := start(ctx, dir, func(dir string) ([]*Member, error) {
		return kubernetes(paths["kube-apiserver"], paths["etcd"], dir, address)
	})
	if err != nil {
		return nil, fmt.Errorf("start kube-apiserver: %w", err)
	}
	api := members[0]
	free, err := Addresses(2)
	if err != nil {
		return nil, err
	}
	for i, name := range []string{controllers, scheduler} {
		_, port, _ := strings.Cut(free[i], ":")
		m := &Member{name: name, addr: free[i], path: paths[name], data: api.data, log: filepath.Join(filepath.Dir(api.data), name+".log"), up: healthy, below: true}
		m.args = []string{"--kubeconfig=" + api.Kubeconfig(), "--leader-elect=false", "--bind-address=127.0.0.1", "--secure-port=" + port, "--kube-api-qps=200", "--kube-api-burst=200"}
		if name == controllers {
			m.args = append(m.args, "--cert-dir="+api.data, "--service-account-private-key-file="+filepath.Join(api.data, "kubernetes.key"), "--root-ca-file="+api.CAFile())
		}
		members = append(members, m)
	}
	if err := startAll(ctx, members[len(members)-2:]); err != nil {
		(&Cluster{Members: members}).Stop()
		return nil, err
	}
	return &Cluster{Members: members, leads: func(_ context.Context, m *Member) (bool, error) { return m == api, nil }}, nil
}

const controllers, scheduler = "kube-controller-manager", "kube-scheduler"

// healthy asks a part of the control plane that has made a certificate for itself.
func healthy(ctx context.Context, m *Member) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+m.addr+"/healthz", nil)
	if err != nil {
		return err
	}
	wire := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}
	res, err := wire.RoundTrip(req)
	if err != nil {
		return err
	}
	if err := res.Body.Close(); err != nil || res.StatusCode != http.StatusOK {
		return fmt.Errorf("/healthz: %s %w", res.Status, err)
	}
	return nil
}

// manager may do everything.
const manager = "manager"

func kubernetes(api, etcd, dir, host string, more ...string) ([]*Member, error) {
	below, err := etcds(etcd, dir, 1, Options{})
	if err != nil {
		return nil, err
	}
	free, err := Ports(1)
	if err != nil {
		return nil, err
	}
	port := strconv.Itoa(free[0])
	m := &Member{
		name: "kube-apiserver", addr: net.JoinHostPort(host, port), path: api,
		data: filepath.Join(dir, "certs"), log: filepath.Join(dir, "api.log"), up: kubernetesUp,
	}
	if err := os.MkdirAll(m.data, 0o700); err != nil {
		return nil, err
	}
	ca, err := NewCA(m.data)
	if err != nil {
		return nil, err
	}
	files, err := ca.Issue("kubernetes", time.Now().Add(time.Hour), net.ParseIP(host))
	if err != nil {
		return nil, err
	}
	below[0].below = true
	tokens := filepath.Join(m.data, "tokens")
	m.args = append([]string{
		"--etcd-servers=http://" + below[0].addr, "--bind-address=" + host, "--secure-port=" + port, "--advertise-address=" + host,
		"--tls-cert-file=" + files.Cert, "--tls-private-key-file=" + files.Key, "--client-ca-file=" + files.CA, "--cert-dir=" + m.data,
		"--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file=" + files.Cert,
		"--service-account-signing-key-file=" + files.Key, "--service-cluster-ip-range=10.0.0.0/24",
		"--token-auth-file=" + tokens, "--authorization-mode=RBAC",
	}, more...)
	err = errors.Join(
		os.WriteFile(tokens, []byte(manager+",manager,1,system:masters\n"), 0o600),
		os.WriteFile(m.Kubeconfig(), []byte(Kubeconfig(m.addr, files.CA, "token: "+manager)), 0o600))
	return append([]*Member{m}, below...), err
}

// Kubeconfig is such a file, of a user with these credentials.
func Kubeconfig(address, ca, user string) string {
	return fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: lab, cluster: {server: "https://%s", certificate-authority: %q}}]
users: [{name: lab, user: {%s}}]
contexts: [{name: lab, context: {cluster: lab, user: lab}}]
current-context: lab
`, address, ca, user)
}

// Kubeconfig is the file of who may do everything on an API server.
func (m *Member) Kubeconfig() string { return filepath.Join(m.data, "kubeconfig") }

// CAFile is the file of the authority that signed the API server's certificate.
func (m *Member) CAFile() string { return filepath.Join(m.data, "ca.pem") }

func kubernetesUp(ctx context.Context, m *Member) error {
	_, err := m.AsManager(ctx, http.MethodGet, "/readyz", "")
	return err
}

// AsManager makes a request of an API server, as somebody who may do everything, and returns the answer.
func (m *Member) AsManager(ctx context.Context, method, path, body string) (answer string, err error) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	text, err := os.ReadFile(m.CAFile())
	if err != nil {
		return "", err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	req, err := http.NewRequestWithContext(ctx, method, "https://"+m.addr+path, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("Authorization", "Bearer "+manager)
	if req.Header.Set("Content-Type", "application/json"); method == http.MethodPatch {
		req.Header.Set("Content-Type", "application/merge-patch+json")
	}
	wire := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}
	res, err := wire.RoundTrip(req)
	if err != nil {
		return "", err
	}
	said, err := io.ReadAll(res.Body)
	if err = errors.Join(err, res.Body.Close()); err == nil && res.StatusCode/100 != 2 {
		err = fmt.Errorf("%s %s: %d %s", method, path, res.StatusCode, said)
	}
	return string(said), err
}
