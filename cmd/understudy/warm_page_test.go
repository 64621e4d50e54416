//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/coordinator"
)

// TestWarmTakeover measures for how long nobody works when the role moves, with a program that takes three seconds to
// start: cold, and warm. After SIGKILL of the active's wrapper that counts from the signal, and otherwise from the old
// command's last stamp.
func TestWarmTakeover(t *testing.T) {
	t.Parallel()
	for _, store := range []string{onRaft, onEtcd} {
		t.Run(store, func(t *testing.T) { testWarmTakeover(t, store) })
	}
}

// handovers are what moves the role.
var handovers = []struct {
	name string
	does func(r *trio, now span)
}{
	{"handoff", func(r *trio, _ span) { r.handoff() }},
	{"clean stop", func(r *trio, now span) { r.kill(now.id, syscall.SIGTERM) }},
	{"SIGKILL", func(r *trio, now span) { r.kill(now.id, syscall.SIGKILL) }},
}

func testWarmTakeover(t *testing.T, store string) {
	for _, how := range []string{"cold", "warm"} {
		r := newTrio(t, store)
		r.ttl = 10 * time.Second
		if how == "warm" {
			r.warmed()
		}
		r.command = []string{"sh", "-c", "sleep 3; UNDERSTUDY_TEST=" + map[string]string{"cold": "stamp", "warm": "warm"}[how] + " exec " + os.Args[0]}
		r.startAll()
		for _, m := range handovers {
			now := r.warmAt()
			began := coordinator.Clocks().Mono
			m.does(r, now)
			next := r.active(now.token)
			if m.name != "SIGKILL" {
				began = r.lastStamp(now.token)
			}
			took := next.first - began
			t.Logf("%s, %s: nobody works for %v", how, m.name, took)
			if how == "cold" && took < 3*time.Second || how == "warm" && took > time.Second {
				t.Errorf("%s, %s: %v", how, m.name, took)
			}
			if m.name != "handoff" {
				r.start(now.id)
			}
		}
		r.finish()
	}
}

// lastStamp is when a term's command stamped last.
func (r *trio) lastStamp(token uint64) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.spans {
		if s.token == token {
			return s.last
		}
	}
	r.t.Fatalf("nobody worked with token %d", token)
	return 0
}

// TestPageIsReadOnly: a command cannot write to its page, by whatever way.
func TestPageIsReadOnly(t *testing.T) {
	p, err := newPage()
	must(t, err)
	fd := int(p.file.Fd())
	if _, err := unix.Mmap(fd, 0, pageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); !errors.Is(err, unix.EACCES) {
		t.Errorf("a mapping for writing: %v", err)
	}
	if f, err := os.OpenFile(fmt.Sprint("/proc/self/fd/", fd), os.O_RDWR, 0); err == nil {
		if _, err := unix.Mmap(int(f.Fd()), 0, pageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); !errors.Is(err, unix.EPERM) {
			t.Errorf("a mapping for writing, opened anew: %v", err)
		}
		if _, err := f.WriteAt([]byte{1}, 0); !errors.Is(err, unix.EPERM) {
			t.Errorf("a write: %v", err)
		}
		if err := f.Truncate(0); !errors.Is(err, unix.EPERM) {
			t.Errorf("a truncation: %v", err)
		}
		_ = f.Close()
	}
}

// checkPage is a C program that asks the page of the example whether it may work, and how long that takes.
const checkPage = `#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include "page.h"

int main(int argc, char **argv) {
	struct page *p = mmap(NULL, 4096, PROT_READ, MAP_SHARED, 3, 0);
	if (argc < 2 || p == MAP_FAILED || p->format != page_format) return 3;
	uint64_t token = strtoull(argv[1], NULL, 10);
	for (char c; fread(&c, 1, 1, stdin) == 1;) { // asked once for each byte
		printf("%d\n", may_work(p, token));
		fflush(stdout);
	}
	enum { times = 5000000 };
	int64_t check = INT64_MAX, clocks = INT64_MAX, sum = 0;
	for (int round = 0; round < 10; round++) { // the best of some, as the machine is busy
		int64_t a = now(CLOCK_MONOTONIC);
		for (int i = 0; i < times / 10; i++) sum += may_work(p, token);
		int64_t b = now(CLOCK_MONOTONIC);
		for (int i = 0; i < times / 10; i++) sum += now(CLOCK_BOOTTIME) ^ now(CLOCK_MONOTONIC_RAW);
		int64_t c = now(CLOCK_MONOTONIC);
		if (b - a < check) check = b - a;
		if (c - b < clocks) clocks = c - b;
	}
	fprintf(stderr, "%.1f ns, the two clocks alone %.1f ns%s", check / (times / 10.0), clocks / (times / 10.0), sum == 0 ? "." : "");
	return 0;
}
`

// TestPageInC has a C program read the page by the example's header: it may work under the token, until either
// clock shows the deadline, and not under another one.
func TestPageInC(t *testing.T) {
	if _, err := exec.LookPath("cc"); err != nil {
		t.Skip("cc is not installed: the check in C was not run")
	}
	header, err := filepath.Abs("../../examples/warm")
	must(t, err)
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "check.c"), []byte(checkPage), 0o600))
	if out, err := exec.Command("cc", "-O2", "-Wall", "-Wextra", "-Werror", "-I", header, "-o", dir+"/check", dir+"/check.c").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	p, err := newPage()
	must(t, err)
	var said strings.Builder
	cmd := exec.Command(dir+"/check", "7")
	cmd.ExtraFiles, cmd.Stderr = []*os.File{p.file}, &said
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	far := func(boot, raw time.Duration) coordinator.Instant {
		now := coordinator.Clocks()
		return coordinator.Instant{Boot: now.Boot + boot, Raw: now.Raw + raw}
	}
	for name, c := range map[string]struct {
		set  func()
		want string
	}{
		"at work":                   {func() { p.set(7, far(time.Hour, time.Hour)) }, "1\n"},
		"stands by":                 {func() { p.set(0, coordinator.Instant{}) }, "0\n"},
		"another term":              {func() { p.set(8, far(time.Hour, time.Hour)) }, "0\n"},
		"over by the boot clock":    {func() { p.set(7, far(0, time.Hour)) }, "0\n"},
		"over by the raw clock":     {func() { p.set(7, far(time.Hour, 0)) }, "0\n"},
		"at work again, for longer": {func() { p.set(7, far(time.Hour, time.Hour)); p.set(7, far(2*time.Hour, 2*time.Hour)) }, "1\n"},
	} {
		c.set()
		_, err := in.Write([]byte{'?'})
		must(t, err)
		answer := make([]byte, 2)
		_, err = out.Read(answer)
		must(t, err)
		if string(answer) != c.want {
			t.Errorf("%s: %q, want %q", name, answer, c.want)
		}
	}
	p.set(7, far(time.Hour, time.Hour))
	must(t, in.Close())
	must(t, cmd.Wait())
	t.Log("one check takes " + said.String())
}
