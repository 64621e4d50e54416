//go:build systemd

package deploy

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/internal/lab/process"
)

// A box is a machine in namespaces of its own, with systemd as its first process: the host's
// programs, and an /etc, /var and what is laid over /usr that outlive its boots.
type box struct {
	t       *testing.T
	dir     string
	cgroup  string
	process *process.Process
	init    string // the PID of its systemd
}

func newBox(t *testing.T) *box {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("a systemd in namespaces of its own needs root")
	}
	b := &box{t: t, dir: t.TempDir()}
	b.write("etc/passwd", "root:x:0:0:root:/root:/bin/bash\n")
	b.write("etc/group", "root:x:0:\n")
	b.write("etc/machine-id", "")
	b.write("etc/os-release", "ID=box\n")
	cache, err := os.ReadFile("/etc/ld.so.cache")
	lab.Must(t, err)
	b.write("etc/ld.so.cache", string(cache))
	b.link("etc/systemd/system/default.target", "/usr/lib/systemd/system/multi-user.target")
	// Of the host's services none is wanted, and the kernel is not this machine's.
	for _, name := range []string{
		"systemd-udevd.service", "systemd-udev-trigger.service", "systemd-logind.service", "systemd-networkd.service",
		"systemd-resolved.service", "systemd-timesyncd.service", "dev-hugepages.mount", "dev-mqueue.mount",
		"sys-kernel-debug.mount", "sys-kernel-tracing.mount", "sys-fs-fuse-connections.mount", "sys-kernel-config.mount",
	} {
		b.link("etc/systemd/system/"+name, "/dev/null")
	}
	for _, dir := range []string{"var", "usr", "work", "root", "lib"} {
		lab.Must(t, os.MkdirAll(filepath.Join(b.dir, dir), 0o755))
	}
	t.Cleanup(b.off)
	return b
}

func (b *box) write(path, text string) {
	b.t.Helper()
	path = filepath.Join(b.dir, path)
	lab.Must(b.t, os.MkdirAll(filepath.Dir(path), 0o755))
	lab.Must(b.t, os.WriteFile(path, []byte(text), 0o644))
}

func (b *box) link(path, to string) {
	path = filepath.Join(b.dir, path)
	lab.Must(b.t, os.MkdirAll(filepath.Dir(path), 0o755))
	lab.Must(b.t, os.Symlink(to, path))
}

// boot starts the machine, in a control group of its own, and waits until it is up.
func (b *box) boot() {
	b.t.Helper()
	where, err := exec.Command("findmnt", "-n", "-t", "cgroup2", "-o", "TARGET", "--first-only").Output()
	lab.Must(b.t, err)
	b.cgroup, err = os.MkdirTemp(strings.TrimSpace(string(where)), "understudy-test-")
	lab.Must(b.t, err)
	group, err := os.Open(b.cgroup)
	lab.Must(b.t, err)
	defer group.Close()
	cmd := exec.Command("unshare", "--cgroup", "--mount", "--pid", "--net", "--uts", "--ipc", "--fork", "--kill-child", "bash", "testdata/boot.sh", b.dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(group.Fd())}
	cmd.Stderr = os.Stderr
	b.process, err = process.Start(cmd, nil)
	lab.Must(b.t, err)
	lab.Eventually(b.t, "the first process of the machine", func() bool {
		children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", cmd.Process.Pid))
		b.init = strings.TrimSpace(string(children))
		name, _ := os.ReadFile("/proc/" + b.init + "/comm")
		return string(name) == "systemd\n"
	})
	lab.Eventually(b.t, "a machine that is up", func() bool {
		out, _ := b.command("systemctl", "is-system-running").Output()
		if string(out) == "degraded\n" {
			b.t.Fatal(b.run("systemctl", "--failed", "--no-pager"))
		}
		return string(out) == "running\n"
	})
}

// off takes its power away: every process is killed in the same moment.
func (b *box) off() {
	if b.process == nil {
		return
	}
	b.process.End(syscall.SIGKILL, 0)
	b.process = nil
	var groups []string
	_ = filepath.WalkDir(b.cgroup, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			groups = append(groups, path)
		}
		return nil
	})
	slices.Reverse(groups)
	for _, group := range groups {
		lab.Eventually(b.t, "an empty control group", func() bool { return os.Remove(group) == nil })
	}
}

func (b *box) command(args ...string) *exec.Cmd {
	return exec.Command("nsenter", append([]string{"-t", b.init, "-a"}, args...)...)
}

// run runs a command on the machine, which must end with 0.
func (b *box) run(args ...string) string {
	b.t.Helper()
	out, err := b.command(args...).CombinedOutput()
	if err != nil {
		b.t.Fatalf("%q: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}
