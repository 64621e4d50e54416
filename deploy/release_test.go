//go:build systemd

package deploy

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/internal/lab"
)

// release makes a release of one version for amd64, under some environment.
func release(t *testing.T, version string, env ...string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	cmd := exec.Command("release/release.sh")
	cmd.Env = append(os.Environ(), append(env, "OUT="+dir, "PLATFORMS=linux/amd64", "VERSION="+version)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return dir
}

// TestRelease makes a release twice: the same bytes; a small image; a package that is installed over an
// earlier one, and removed, under a real systemd.
func TestRelease(t *testing.T) {
	first := release(t, "v0.2.0", "TZ=Asia/Tokyo", "LANG=de_DE.UTF-8")
	again := release(t, "v0.2.0", "USER=somebody", "HOME="+os.Getenv("HOME"))
	sums := func(dir string) string {
		text, err := os.ReadFile(filepath.Join(dir, "SHA256SUMS"))
		lab.Must(t, err)
		return string(text)
	}
	if a, b := sums(first), sums(again); a != b || strings.Count(a, "\n") != 4 {
		t.Errorf("made twice:\n%s\n%s", a, b)
	}
	name := "understudy-0.2.0-linux-amd64"
	for file, of := range map[string]string{"deb": "dpkg-deb -c", "tar.gz": "tar tzf"} {
		args := append(strings.Fields(of), filepath.Join(first, name+"."+file))
		out, err := exec.Command(args[0], args[1:]...).Output()
		lab.Must(t, err)
		for _, want := range []string{"understudy-status.1.gz", "understudy@.service", "sysusers", "understudy\n"} {
			if !strings.Contains(string(out), want) {
				t.Errorf("%s has no %s:\n%s", file, want, out)
			}
		}
	}
	t.Run("image", func(t *testing.T) { image(t, first) })
	t.Run("package", func(t *testing.T) {
		packaged(t, earlier(t, filepath.Join(first, name)), filepath.Join(first, name+".deb"))
	})
}

// image makes one of what a release has, which must be small, and runs it.
func image(t *testing.T, dir string) {
	name := fmt.Sprint("understudy-test-", os.Getpid())
	images := exec.Command("release/images.sh")
	images.Env = append(os.Environ(), "OUT="+dir, "IMAGE="+name)
	out, err := images.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
	name += ":0.2.0-amd64"
	t.Cleanup(func() { lab.Must(t, exec.Command("docker", "rmi", "-f", name).Run()) })
	if out, err := exec.Command("docker", "run", "--rm", "--network", "none", name, "--version").CombinedOutput(); err != nil || !strings.HasPrefix(string(out), "understudy ") {
		t.Errorf("the image says %q: %v", out, err)
	}
}

// earlier makes the package of the version before, of what a tarball has.
func earlier(t *testing.T, name string) string {
	t.Helper()
	dir := t.TempDir()
	lab.Must(t, exec.Command("tar", "xzf", name+".tar.gz", "-C", dir).Run())
	cmd := exec.Command("go", "tool", "-modfile=tools/release/go.mod", "nfpm", "package", "-f", "deploy/release/nfpm.yaml", "-p", "deb", "-t", dir+"/before.deb")
	cmd.Dir = ".."
	cmd.Env = append(os.Environ(), "VERSION=0.1.0", "ARCH=amd64", "FILES="+filepath.Join(dir, filepath.Base(name)))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return dir + "/before.deb"
}

// packaged installs one package over the other while a contender runs, and removes it.
func packaged(t *testing.T, before, after string) {
	b := newBox(t)
	for _, dir := range []string{"info", "updates", "triggers"} {
		lab.Must(t, os.MkdirAll(filepath.Join(b.dir, "var/lib/dpkg", dir), 0o755))
	}
	b.write("var/lib/dpkg/status", "")
	b.write("etc/understudy/understudy.yaml", "id: alone\nbackend: memory\nroles:\n  - name: alone\n    command: [sleep, infinity]\n")
	for file, name := range map[string]string{before: "before.deb", after: "after.deb"} {
		text, err := os.ReadFile(file)
		lab.Must(t, err)
		b.write("var/"+name, string(text))
	}
	b.boot()
	state := func() string {
		return b.run("systemctl", "show", "-p", "MainPID,ActiveState,Result", "understudy")
	}
	b.run("dpkg", "-i", "/var/before.deb")
	b.run("systemctl", "enable", "--now", "understudy")
	running := state()
	if !strings.Contains(running, "ActiveState=active") {
		t.Fatal(running)
	}
	b.run("dpkg", "-i", "/var/after.deb")
	if now := state(); now != running {
		t.Errorf("an upgrade made of %s\n%s", running, now)
	}
	if version := b.run("dpkg-query", "-W", "-f", "${Version} ${Status}", "understudy"); version != "0.2.0 install ok installed" {
		t.Error(version)
	}
	b.run("systemctl", "restart", "understudy")
	if now := state(); now == running || !strings.Contains(now, "ActiveState=active") {
		t.Errorf("restarted after the upgrade: %s", now)
	}
	b.run("dpkg", "-r", "understudy")
	if now := state(); !strings.Contains(now, "MainPID=0") {
		t.Errorf("removed, and still %s", now)
	}
	if left := b.run("sh", "-c", "ls /usr/bin/understudy /usr/lib/systemd/system/understudy* /etc/understudy/understudy.yaml 2>/dev/null; true"); left != "/etc/understudy/understudy.yaml" {
		t.Errorf("after its removal there are %s", left)
	}
}
