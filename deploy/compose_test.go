//go:build compose

package deploy

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/internal/lab/servers"
)

// A project is one of the files for Compose, in a folder of its own.
type project struct {
	t    *testing.T
	dir  string
	name string
	file string
	env  []string
}

// TestCompose takes one container after the other away: the whole of it, its witness too.
func TestCompose(t *testing.T) {
	p := &project{t: t, dir: t.TempDir(), name: fmt.Sprint("understudy-test-", os.Getpid())}
	p.env = append(os.Environ(), "IMAGE="+p.name, "COMMAND=/work", "ETCD=etcd:2379", "CGO_ENABLED=0")
	p.image()
	for name, test := range map[string]func(*project){"raft": onRaft, "etcd": onEtcd, "coordinators": coordinators} {
		t.Run(name, func(t *testing.T) {
			one := *p
			one.t, one.name, one.file, one.dir = t, p.name+"-"+name, name+".yaml", t.TempDir()
			one.do("cp", "compose/"+one.file, "testdata/server.yaml", one.dir)
			t.Cleanup(func() { one.compose("down", "--volumes", "--timeout", "60") })
			test(&one)
		})
	}
}

// image makes one that holds understudy, a program and etcd, and nothing else.
func (p *project) image() {
	p.t.Helper()
	image := filepath.Join(p.dir, "image")
	p.do("go", "build", "-trimpath", "-tags", "grpcnotrace", "-o", image+"/understudy", "../cmd/understudy")
	p.do("go", "build", "-o", image+"/work", "./testdata/work")
	etcd, err := servers.Path("etcd")
	lab.Must(p.t, err)
	p.do("cp", "-L", etcd, image+"/etcd")
	lab.Must(p.t, os.WriteFile(image+"/Dockerfile", []byte("FROM scratch\nCOPY understudy work etcd /\nENTRYPOINT [\"/understudy\"]\n"), 0o600))
	p.do("docker", "build", "-q", "-t", p.name, image)
	p.t.Cleanup(func() { p.do("docker", "rmi", "-f", p.name) })
}

// do runs a command, which must end with 0.
func (p *project) do(args ...string) string {
	p.t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = p.env
	out, err := cmd.CombinedOutput()
	if err != nil {
		p.t.Fatalf("%q: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func (p *project) compose(args ...string) string {
	p.t.Helper()
	base := []string{"docker-compose", "-p", p.name, "--project-directory", p.dir, "-f", filepath.Join(p.dir, p.file)}
	if p.file != "raft.yaml" {
		base = append(base, "-f", filepath.Join(p.dir, "server.yaml"))
	}
	return p.do(append(base, args...)...)
}

func (p *project) container(service string) string { return p.name + "_" + service + "_1" }

func onRaft(p *project) {
	p.do("docker", "run", "--rm", "-v", p.dir+":/w", "-w", "/w", strings.TrimSuffix(p.name, "-raft"), "raft", "certs", "--dir", "certs", "--raft-peers", "a=a:7001,b=b:7001,c=c:7001")
	p.compose("up", "-d")
	p.faults("a", "b", "c")
}

func onEtcd(p *project) {
	p.compose("up", "-d")
	p.faults("a", "b")
}

// coordinators: one variable has the second process of each stand by.
func coordinators(p *project) {
	p.env = append(p.env, "ACTIVE_STANDBY=true")
	p.compose("up", "-d")
	for role, of := range map[string]string{"rootcoord": "root", "querycoord": "query", "datacoord": "data"} {
		now := p.active(0, 1, role, of+"-1")
		since := time.Now()
		p.do("docker", "stop", p.container(now.ID))
		at := awaitLine(p.t, since, "role="+role+" .*to=active", func() string { return p.logs(of+"-1", of+"-2") })
		p.t.Logf("%s stopped: another works after %v", now.ID, at.Sub(since).Round(time.Millisecond))
	}
	p.compose("down", "--timeout", "60")
	p.env = append(p.env, "ACTIVE_STANDBY=false")
	p.compose("up", "-d")
	lab.Eventually(p.t, "a second process that ends with 73, and is started again", func() bool {
		for _, of := range []string{"root-1", "root-2"} {
			if p.do("docker", "inspect", "-f", "{{.State.ExitCode}}", p.container(of)) == "73" {
				return true
			}
		}
		return false
	})
}

func (p *project) logs(services ...string) (all string) {
	for _, s := range services {
		out, _ := exec.Command("docker", "logs", p.container(s)).CombinedOutput()
		all += string(out)
	}
	return all
}

func (p *project) active(above, standbys int, role, from string) active {
	p.t.Helper()
	return awaitActive(p.t, above, standbys, func() *exec.Cmd {
		return exec.Command("docker", "exec", p.container(from), "/understudy", "status", "-o", "json", "--role", role)
	})
}

// faults takes the active's container away in each way, and brings it back.
func (p *project) faults(services ...string) {
	p.t.Helper()
	others := func(id string) (all []string) {
		for _, s := range services {
			if s != id {
				all = append(all, s)
			}
		}
		return all
	}
	network := p.name + "_default"
	for _, f := range []struct{ name, how, back string }{
		{"stop", "docker stop C", "docker start C"},
		{"kill", "docker kill C", "docker start C"},
		{"pause", "docker pause C", "docker unpause C"},
		{"disconnect", "docker network disconnect N C", "docker network connect --alias S N C"},
	} {
		now := p.active(0, len(services)-1, "billing", services[0])
		command := func(text string) []string {
			return strings.Fields(strings.NewReplacer("C", p.container(now.ID), "N", network, "S", now.ID).Replace(text))
		}
		for _, s := range services {
			lab.Eventually(p.t, "a healthy "+s, func() bool {
				return p.do("docker", "inspect", "-f", "{{.State.Health.Status}}", p.container(s)) == "healthy"
			})
		}
		var since time.Time
		lab.Eventually(p.t, f.how, func() bool {
			since = time.Now()
			out, err := exec.Command("docker", command(f.how)[1:]...).CombinedOutput()
			// runc gives up freezing a busy control group of version 1 after a while, and thaws it.
			if err != nil && !strings.Contains(string(out), "unable to freeze") {
				p.t.Fatalf("%s: %v\n%s", f.how, err, out)
			}
			return err == nil
		})
		at := awaitLine(p.t, since, "to=active", func() string { return p.logs(others(now.ID)...) })
		p.t.Logf("%s %s: another works after %v", f.name, now.ID, at.Sub(since).Round(time.Millisecond))
		p.do(command(f.back)...)
		p.active(now.Token, len(services)-1, "billing", others(now.ID)[0])
	}
}
