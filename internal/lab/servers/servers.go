// Package servers runs real etcd, Consul, PostgreSQL, NATS, S3, ZooKeeper and Kubernetes API servers as child processes on
// loopback, so that tests and benchmarks can kill, pause and restart them, and a
// proxy that spoils the network between a client and one of them.
package servers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A Cluster is a number of servers that are one store. Its members end with this
// process, where the system can do that (Linux).
type Cluster struct {
	Members []*Member

	leads func(ctx context.Context, m *Member) (bool, error)
	temp  string // a directory that is nobody else's; "": there is none
}

// Options change how servers are started. The zero Options mean plain servers.
type Options struct {
	TLS    *Files   // the clients' port speaks TLS alone, and asks for a certificate of the same authority
	Args   []string // more arguments for every server
	Config string   // Consul, NATS and ZooKeeper only: more configuration, in their own language; with Consul it overrides what is set here
	Token  string   // Consul only: a token that may read the catalog, where Config turns ACLs on
}

// Addresses returns HOST:PORT of each member that clients reach.
func (c *Cluster) Addresses() (all []string) {
	for _, m := range c.Members {
		if !m.below {
			all = append(all, m.addr)
		}
	}
	return all
}

// Leader returns the index of the member that leads the store. It asks every
// member that runs, and fails where none of them says that it leads.
func (c *Cluster) Leader(ctx context.Context) (int, error) {
	var errs []error
	for i, m := range c.Members {
		yes, err := c.leads(ctx, m)
		if yes {
			return i, nil
		}
		errs = append(errs, err)
	}
	return 0, fmt.Errorf("no member says that it leads: %w", errors.Join(errs...))
}

// Stop kills every member and waits until they are gone. It may be repeated.
func (c *Cluster) Stop() {
	for _, m := range c.Members {
		m.Kill()
	}
	_ = os.RemoveAll(c.temp) // of nothing where there is none
}

// attempts is how often the first start is tried: another process may take a
// port between our choice and the server's.
const attempts = 3

// start starts members until they answer. build makes them anew, with new ports,
// for every attempt.
func start(ctx context.Context, dir string, build func(dir string) ([]*Member, error)) ([]*Member, error) {
	var last error
	for n := range attempts {
		members, err := build(filepath.Join(dir, fmt.Sprintf("try%d", n)))
		if err != nil {
			return nil, err
		}
		if last = startAll(ctx, members); last == nil {
			return members, nil
		}
		for _, m := range members {
			m.Kill()
		}
		if !strings.Contains(last.Error(), "address already in use") {
			break
		}
	}
	return nil, last
}

func startAll(ctx context.Context, members []*Member) error {
	for _, m := range members {
		if err := m.launch(); err != nil {
			return err
		}
	}
	for _, m := range members {
		if err := m.ready(ctx); err != nil {
			return err
		}
	}
	return nil
}

// A starter starts n servers of a store, or one.
type starter struct {
	one bool // whatever n is
	do  func(ctx context.Context, dir string, n int, o Options) (*Cluster, error)
}

// starts are the stores that have servers here.
var starts = map[string]starter{
	"etcd": {do: StartEtcd}, "consul": {do: StartConsul}, "nats": {do: StartNATS}, "zookeeper": {do: StartZooKeeper},
	"postgres": {true, func(ctx context.Context, _ string, _ int, _ Options) (*Cluster, error) { return StartPostgres(ctx) }},
	"kubernetes": {true, func(ctx context.Context, dir string, _ int, _ Options) (*Cluster, error) {
		return StartKubernetes(ctx, dir)
	}},
	"s3": {true, func(ctx context.Context, dir string, _ int, o Options) (*Cluster, error) { return StartS3(ctx, dir, o) }},
}

// Start starts servers of a store by its name. See StartEtcd, StartConsul, StartNATS, StartZooKeeper, StartS3, which is one server,
// StartKubernetes, which is one API server, and StartPostgres, which is one somewhere else; these two have no options.
func Start(ctx context.Context, store, dir string, n int, o Options) (*Cluster, error) {
	starter, ok := starts[store]
	if !ok {
		return nil, fmt.Errorf("%q: no servers are known for it", store)
	}
	return starter.do(ctx, dir, n, o)
}

// Number is how many servers clients can choose from where Start is asked for n.
func Number(store string, n int) int {
	if starts[store].one {
		return 1
	}
	return n
}

// Path returns where the server of a store is found, as a start would.
func Path(store string) (string, error) {
	switch store {
	case "postgres":
		return postgresPath()
	case "zookeeper":
		return zooKeeperPath()
	case "nats":
		return binary("UNDERSTUDY_NATS_SERVER", "nats-server")
	case "kubernetes":
		return binary("UNDERSTUDY_KUBE_APISERVER", "kube-apiserver")
	case "s3":
		return binary("UNDERSTUDY_VERSITYGW", "versitygw")
	}
	return binary("UNDERSTUDY_"+strings.ToUpper(store), store)
}

// binary finds a server: what the variable names, else what `make servers` built
// in the module around the working directory, else what stands in PATH.
func binary(variable, name string) (string, error) {
	paths := []string{os.Getenv(variable)}
	what := variable + "=" + paths[0]
	if paths[0] == "" {
		built, err := built(name)
		if err != nil {
			return "", err
		}
		inPath, _ := exec.LookPath(name) // "" where there is none
		paths, what = []string{built, inPath}, fmt.Sprintf("%s and %s in PATH", built, name)
	}
	for _, path := range paths {
		if isProgram(path) {
			return filepath.Abs(path)
		}
	}
	return "", fmt.Errorf("%s: no such program: run `make bin/%s` once where understudy's source is, or set %s", what, name, variable)
}

// built is where make puts a server: in the module around the working directory, where there is one.
func built(name string) (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; filepath.Dir(dir) != dir; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(dir, "bin", name), nil
		}
	}
	return "bin/" + name, nil
}

func isProgram(path string) bool {
	info, err := os.Stat(path)
	return err == nil && !info.IsDir() && info.Mode()&0o111 != 0
}

// Ports are taken below every system's range for outgoing connections, so that
// none takes a port while its server is down.
const lowPort, highPort = 10_000, 32_000

// Ports returns n different ports of loopback that nobody uses now.
func Ports(n int) ([]int, error) {
	var found []int
	for range 100 * n {
		port := lowPort + rand.IntN(highPort-lowPort)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil || slices.Contains(found, port) {
			continue
		}
		if err := l.Close(); err != nil {
			return nil, err
		}
		if found = append(found, port); len(found) == n {
			return found, nil
		}
	}
	return nil, fmt.Errorf("found %d free ports between %d and %d, need %d", len(found), lowPort, highPort, n)
}

// probeTimeout bounds one question to a server, which may be paused.
const probeTimeout = 2 * time.Second

// get returns the body and the status of a page.
func get(ctx context.Context, url, token string) (string, int, error) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", 0, err
	}
	req.Close = true // nothing of ours stays open at a server
	if token != "" {
		req.Header.Set("X-Consul-Token", token)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", 0, err
	}
	body, err := io.ReadAll(res.Body)
	return string(body), res.StatusCode, errors.Join(err, res.Body.Close())
}
