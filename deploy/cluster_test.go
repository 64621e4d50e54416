//go:build helm

package deploy

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/internal/lab/process"
	"github.com/understudy-ha/understudy/internal/lab/servers"
)

// A cluster is one of Kubernetes: a real control plane, and nodes of ours (internal/lab/servers/kubernetes/node).
type cluster struct {
	t       *testing.T
	dir     string
	name    string // of its network and its images
	control *servers.Cluster
	env     []string
	nodes   map[string]*process.Process
}

func newCluster(t *testing.T, nodes int) *cluster {
	t.Helper()
	c := &cluster{t: t, dir: t.TempDir(), name: fmt.Sprint("understudy-helm-", os.Getpid()), nodes: map[string]*process.Process{}}
	lab.Must(t, os.Chmod(c.dir, 0o755))
	c.env = append(os.Environ(), "CGO_ENABLED=0", "HOME="+c.dir, "GOPATH="+goEnv(t, "GOPATH"), "GOCACHE="+goEnv(t, "GOCACHE"))
	c.image("understudy", "../cmd/understudy", "-trimpath", "-tags", "grpcnotrace")
	c.image("work", "./testdata/work")
	c.do("go", "build", "-C", "../internal/lab/servers/kubernetes", "-o", c.dir+"/node", "./node")
	c.do("docker", "network", "create", c.name)
	t.Cleanup(func() {
		c.killContainers("network=" + c.name)
		c.do("docker", "network", "rm", c.name)
	})
	gateway := c.do("docker", "network", "inspect", "-f", "{{(index .IPAM.Config 0).Gateway}}", c.name)
	var err error
	c.control, err = servers.StartControlPlane(lab.Within(t, lab.Patience), c.dir+"/control", gateway)
	lab.Must(t, err)
	t.Cleanup(c.control.Stop)
	c.env = append(c.env, "KUBECONFIG="+c.api().Kubeconfig())
	lab.Must(t, os.MkdirAll(c.dir+"/stamps", 0o777))
	lab.Must(t, os.Chmod(c.dir+"/stamps", 0o777))
	for i := range nodes {
		c.startNode(fmt.Sprint("node-", i))
	}
	lab.Eventually(t, "nodes that are ready", func() bool {
		return strings.Count(c.do("kubectl", "get", "nodes", "-o", `jsonpath={.items[*].spec.taints}{.items[*].status.conditions[?(@.type=="Ready")].status}`), "True") == nodes &&
			!strings.Contains(c.do("kubectl", "get", "nodes", "-o", "yaml"), "taints")
	})
	return c
}

func goEnv(t *testing.T, name string) string {
	out, err := exec.Command("go", "env", name).Output()
	lab.Must(t, err)
	return strings.TrimSpace(string(out))
}

func (c *cluster) api() *servers.Member { return c.control.Members[0] }

// image makes one with a program of that name and nothing else.
func (c *cluster) image(name, pkg string, flags ...string) {
	c.t.Helper()
	dir := filepath.Join(c.dir, "image-"+name)
	c.do(append(append([]string{"go", "build"}, flags...), "-o", dir+"/"+name, pkg)...)
	lab.Must(c.t, os.WriteFile(dir+"/Dockerfile", []byte("FROM scratch\nCOPY "+name+" /\nENTRYPOINT [\"/"+name+"\"]\n"), 0o600))
	c.do("docker", "build", "-q", "-t", c.called(name), dir)
	c.t.Cleanup(func() { c.do("docker", "rmi", "-f", c.called(name)) })
}

func (c *cluster) called(image string) string { return c.name + "-" + image + ":1" }

// try runs a command of this cluster.
func (c *cluster) try(args ...string) (string, error) {
	if built := filepath.Join("..", "bin", args[0]); args[0] == "kubectl" || args[0] == "helm" {
		path, err := filepath.Abs(built)
		lab.Must(c.t, err)
		args[0] = path
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = c.env
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// do runs a command of this cluster, which must end with 0.
func (c *cluster) do(args ...string) string {
	c.t.Helper()
	out, err := c.try(args...)
	if err != nil {
		c.t.Fatalf("%q: %v\n%s", args, err, out)
	}
	return out
}

// startNode starts the kubelet of a node.
func (c *cluster) startNode(name string) {
	c.t.Helper()
	host, port, _ := strings.Cut(c.api().Addr(), ":")
	log, err := os.OpenFile(filepath.Join(c.dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	lab.Must(c.t, err)
	defer log.Close()
	cmd := exec.Command(c.dir+"/node", "-kubeconfig", c.api().Kubeconfig(), "-name", name, "-dir", filepath.Join(c.dir, name),
		"-network", c.name, "-pause", c.called("work"), "-server", host, "-port", port)
	cmd.Stdout, cmd.Stderr = log, log
	c.nodes[name], err = process.Start(cmd, nil)
	lab.Must(c.t, err)
	lab.Must(c.t, os.MkdirAll(filepath.Join(c.dir, name), 0o755))
	c.t.Cleanup(func() {
		c.nodes[name].End(syscall.SIGKILL, 0)
		if c.t.Failed() {
			c.show(filepath.Join(c.dir, name+".log"))
		}
	})
}

// show logs the end of a file.
func (c *cluster) show(path string) {
	text, err := os.ReadFile(path)
	c.t.Logf("%s: %v\n%s", path, err, text[max(0, len(text)-6000):])
}

// killNode ends a node and all that runs on it, in one moment.
func (c *cluster) killNode(name string) {
	c.t.Helper()
	c.nodes[name].End(syscall.SIGKILL, 0)
	c.killContainers("understudy-node=" + name)
}

// killContainers removes what has a label.
func (c *cluster) killContainers(label string) {
	c.t.Helper()
	ids := strings.Fields(c.do("docker", "ps", "-aq", "--filter", "label="+label))
	if len(ids) > 0 {
		_, _ = c.try(append([]string{"docker", "kill"}, ids...)...) // one that has ended cannot be killed
		c.do(append([]string{"docker", "rm", "-f"}, ids...)...)
	}
}

// A worked is what one process stamped under one token.
type worked struct {
	token       int
	id          string
	first, last time.Duration
}

// stamps are what all processes stamped, by token. Two at work at once end the test.
func (c *cluster) stamps() (all []worked) {
	c.t.Helper()
	files, err := os.ReadDir(c.dir + "/stamps")
	lab.Must(c.t, err)
	for _, f := range files {
		text, err := os.ReadFile(filepath.Join(c.dir, "stamps", f.Name()))
		lab.Must(c.t, err)
		lines := strings.Fields(string(text))
		if len(lines) == 0 {
			continue
		}
		token, id, _ := strings.Cut(f.Name(), ".")
		w := worked{id: id}
		w.token, err = strconv.Atoi(token)
		lab.Must(c.t, err)
		w.first, w.last = stamp(c.t, lines[0]), stamp(c.t, lines[len(lines)-1])
		all = append(all, w)
	}
	slices.SortFunc(all, func(a, b worked) int { return cmp.Compare(a.token, b.token) })
	for i := 1; i < len(all); i++ {
		if all[i].first <= all[i-1].last {
			c.t.Fatalf("a promise is broken: two at work: %v and %v", all[i-1], all[i])
		}
	}
	return all
}

func stamp(t *testing.T, line string) time.Duration {
	n, err := strconv.ParseInt(line, 10, 64)
	lab.Must(t, err)
	return time.Duration(n)
}

// gap is for how long nobody worked since so many terms, and how often the role moved.
func gap(all []worked, since int) (sum time.Duration, moves int) {
	for i := since; i < len(all); i++ {
		sum += all[i].first - all[i-1].last
		moves++
	}
	return sum, moves
}
