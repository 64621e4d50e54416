//go:build unix

// Package cluster starts a cluster of Kubernetes for one test: a real control plane, and nodes of ours, which run pods
// as containers of Docker Engine (internal/lab/servers/kubernetes/node says what is faked there).
//
// It takes Docker, and what `make bin/kubectl` and its like have built.
package cluster

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/internal/lab/process"
	"github.com/understudy-ha/understudy/internal/lab/servers"
)

// A Cluster is one of Kubernetes.
type Cluster struct {
	Dir string   // the test's own; everybody may look into it
	Env []string // of a command that is to reach it: its kubeconfig, and a PATH with kubectl and helm

	t       testing.TB
	name    string // of its network, and what its images' names begin with
	control *servers.Cluster
	nodes   map[string]*process.Process
}

// Start starts one with so many nodes, node-0 and so on. It ends with the test. root is the repository's folder.
func Start(t testing.TB, root string, nodes int) *Cluster {
	t.Helper()
	c := &Cluster{Dir: t.TempDir(), t: t, name: fmt.Sprint("understudy-test-", os.Getpid()), nodes: map[string]*process.Process{}}
	lab.Must(t, os.Chmod(c.Dir, 0o755))
	c.Env = append(os.Environ(), "CGO_ENABLED=0", "PATH="+c.tools()+":"+os.Getenv("PATH"))
	c.BuildImage("understudy", root, "./cmd/understudy")
	c.BuildImage("work", root, "./deploy/testdata/work")
	c.Do("go", "build", "-C", filepath.Join(root, "internal/lab/servers/kubernetes"), "-o", c.Dir+"/node", "./node")
	c.Do("docker", "network", "create", c.name)
	t.Cleanup(func() {
		c.kill("network=" + c.name)
		c.Do("docker", "network", "rm", c.name)
	})
	gateway := c.Do("docker", "network", "inspect", "-f", "{{(index .IPAM.Config 0).Gateway}}", c.name)
	var err error
	c.control, err = servers.StartControlPlane(lab.Within(t, lab.Patience), c.Dir+"/control", gateway)
	lab.Must(t, err)
	t.Cleanup(c.control.Stop)
	c.Env = append(c.Env, "KUBECONFIG="+c.API().Kubeconfig())
	for i := range nodes {
		c.StartNode(fmt.Sprint("node-", i))
	}
	c.Do("kubectl", "wait", "--for=condition=Ready", "--all", "nodes", "--timeout=2m")
	lab.Eventually(t, "nodes without a taint", func() bool {
		return c.Do("kubectl", "get", "nodes", "-o", "jsonpath={.items[*].spec.taints}") == ""
	})
	return c
}

// tools is a folder with what speaks to the API server, and nothing else.
func (c *Cluster) tools() string {
	c.t.Helper()
	dir := filepath.Join(c.Dir, "tools")
	lab.Must(c.t, os.Mkdir(dir, 0o755))
	for _, tool := range []string{"kubectl", "helm"} {
		path, err := servers.Path(tool)
		lab.Must(c.t, err)
		lab.Must(c.t, os.Symlink(path, filepath.Join(dir, tool)))
	}
	return dir
}

// API is the API server.
func (c *Cluster) API() *servers.Member { return c.control.Members[0] }

// BuildImage makes an image with a program of that name and nothing else, from a package of the module in a folder.
func (c *Cluster) BuildImage(name, module, pkg string) {
	c.t.Helper()
	dir := filepath.Join(c.Dir, "image-"+name)
	c.Do("go", "build", "-C", module, "-tags", "grpcnotrace", "-o", dir+"/"+name, pkg)
	lab.Must(c.t, os.WriteFile(dir+"/Dockerfile", []byte("FROM scratch\nCOPY "+name+" /\nENTRYPOINT [\"/"+name+"\"]\n"), 0o600))
	c.Do("docker", "build", "-q", "-t", c.Image(name), dir)
	c.t.Cleanup(func() { c.Do("docker", "rmi", "-f", c.Image(name)) })
}

// Image is the name of an image that was built: there is understudy, and work, which is deploy/testdata/work.
func (c *Cluster) Image(name string) string { return c.name + "-" + name + ":1" }

// Try runs a command with the cluster's environment, and returns all that it says.
func (c *Cluster) Try(args ...string) (string, error) {
	cmd := exec.Command("env", args...) // which looks for it in the cluster's PATH
	cmd.Env = c.Env
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// Do runs a command with the cluster's environment, which must end with 0, and returns all that it says.
func (c *Cluster) Do(args ...string) string {
	c.t.Helper()
	out, err := c.Try(args...)
	if err != nil {
		c.t.Fatalf("%q: %v\n%s", args, err, out)
	}
	return out
}

// StartNode starts the kubelet of a node. One that was killed starts its pods anew.
func (c *Cluster) StartNode(name string) {
	c.t.Helper()
	host, port, _ := strings.Cut(c.API().Addr(), ":")
	dir := filepath.Join(c.Dir, name)
	lab.Must(c.t, os.MkdirAll(dir, 0o755))
	log, err := os.OpenFile(dir+"/node.log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	lab.Must(c.t, err)
	defer log.Close()
	cmd := exec.Command(c.Dir+"/node", "-kubeconfig", c.API().Kubeconfig(), "-name", name, "-dir", dir,
		"-network", c.name, "-pause", c.Image("work"), "-server", host, "-port", port)
	cmd.Stdout, cmd.Stderr = log, log
	p, err := process.Start(cmd, nil)
	lab.Must(c.t, err)
	c.nodes[name] = p
	c.t.Cleanup(func() {
		p.End(syscall.SIGKILL, 0)
		if text, err := os.ReadFile(log.Name()); err == nil && c.t.Failed() {
			c.t.Logf("%s\n%s", log.Name(), text[max(0, len(text)-6000):])
		}
	})
}

// KillNode ends a node and all that runs on it at once, as a loss of its power does.
func (c *Cluster) KillNode(name string) {
	c.t.Helper()
	c.nodes[name].End(syscall.SIGKILL, 0)
	c.kill("understudy-node=" + name)
}

// kill removes the containers that have a label.
func (c *Cluster) kill(label string) {
	c.t.Helper()
	if ids := strings.Fields(c.Do("docker", "ps", "-aq", "--filter", "label="+label)); len(ids) > 0 {
		_, _ = c.Try(append([]string{"docker", "kill"}, ids...)...) // one that has ended cannot be killed
		c.Do(append([]string{"docker", "rm", "-f"}, ids...)...)
	}
}
