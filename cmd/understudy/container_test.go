//go:build container

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestContainer runs the command as the first process of a real container, from an
// image that holds nothing else, and kills the wrapper in it: the container ends with
// the wrapper's code, and its session is ended at once.
func TestContainer(t *testing.T) {
	t.Parallel()
	r := newTrio(t, onEtcd)
	r.ttl = time.Minute
	image := "understudy-test-" + strconv.Itoa(os.Getpid())
	r.docker("version")
	for name, pkg := range map[string]string{"understudy": ".", "stamp": "./testdata/stamp"} {
		build := exec.Command("go", "build", "-o", filepath.Join(r.dir, "image", name), pkg)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	file := "FROM scratch\nCOPY understudy stamp /\nENTRYPOINT [\"/understudy\"]\n"
	if err := os.WriteFile(filepath.Join(r.dir, "image", "Dockerfile"), []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	r.docker("build", "-q", "-t", image, filepath.Join(r.dir, "image"))
	t.Cleanup(func() { r.docker("rmi", "-f", image) })

	args := []string{"run", "-d", "--network", "host", image, "run", "--role", "r", "--id", "a", "--ttl", r.ttl.String()}
	id := strings.TrimSpace(r.docker(append(append(args, r.flags...), "--", "/stamp")...))
	t.Cleanup(func() { r.docker("rm", "-f", id) })
	r.eventually("the container is active", func() bool { return strings.Contains(r.docker("logs", id), "to=active") })
	wrapper := 0
	for _, line := range strings.Split(r.docker("top", id, "-o", "pid,ppid,args"), "\n") {
		f := strings.Fields(line)
		if len(f) > 3 && f[2] == "/understudy" && f[3] == "run" {
			wrapper, _ = strconv.Atoi(f[0]) // the last one is the child of the first
		}
	}
	if _, first := r.state(wrapper); !strings.Contains(r.docker("top", id, "-o", "pid"), strconv.Itoa(first)) {
		t.Fatalf("the wrapper %d is not the first process's child", wrapper)
	}
	_ = syscall.Kill(wrapper, syscall.SIGKILL)
	if code := strings.TrimSpace(r.docker("wait", id)); code != "137" {
		t.Errorf("the container ends with code %s, want 137", code)
	}
	if logs := r.docker("logs", id); !strings.Contains(logs, "its session is ended") {
		t.Errorf("the witness did not end the session:\n%s", logs)
	}
}

func (r *trio) docker(args ...string) string {
	r.t.Helper()
	out, err := exec.Command("docker", args...).CombinedOutput()
	if err != nil {
		r.t.Fatalf("docker %v: %v\n%s", args, err, out)
	}
	return string(out)
}
