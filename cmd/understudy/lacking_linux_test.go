package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/internal/cli"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/internal/lab/stores"
)

var notStartedAgain = regexp.MustCompile(`(?m)^RestartPreventExitStatus=(.*)$`)

// TestStartOnAFullDisk: a Raft node that is started while its disk is full, or read-only, ends with a code after
// which the shipped units start it again, and continues once there is room.
func TestStartOnAFullDisk(t *testing.T) {
	t.Parallel()
	disk := lab.OwnDisk(t, "2m")
	if disk == "" {
		return
	}
	for _, unit := range []string{"understudy.service", "understudy@.service"} {
		text, err := os.ReadFile(filepath.Join("..", "..", "deploy", "systemd", unit))
		must(t, err)
		if codes := notStartedAgain.FindSubmatch(text); codes == nil || slices.Contains(strings.Fields(string(codes[1])), fmt.Sprint(cli.Lacking)) {
			t.Errorf("%s does not start again: %q", unit, codes)
		}
	}
	peers := stores.Peers(t, "a")
	there, fill := filepath.Join(disk, "a"), filepath.Join(disk, "fill")
	stop := votes(t, "a", there, stores.List(peers))
	led(t, peers)
	stop()
	fillDisk(t, fill)
	refused := func(says string) {
		t.Helper()
		for _, dir := range []string{there, filepath.Join(disk, "new")} {
			node := []string{"--id", "a", "--raft-peers", stores.List(peers), "--raft-dir", dir, "--ttl", "5s"}
			for _, args := range [][]string{append([]string{"raft-voter"}, node...), append(append([]string{"run", "--role", "r"}, node...), "--", "true")} {
				if code, text := said(t, args...); code != cli.Lacking || !strings.Contains(text, says) {
					t.Errorf("%q: exit code %d, want %d and %q\n%s", args, code, cli.Lacking, says, text)
				}
			}
		}
	}
	refused("no space left on device")
	for i, line := range []string{"raft certs --raft-peers a=127.0.0.1:1 --dir ", "man ", "raft recover " + there + " --force --out "} {
		if code, text := said(t, strings.Fields(line+filepath.Join(disk, fmt.Sprint("made", i)))...); code != cli.Lacking || !strings.Contains(text, "no space left on device") {
			t.Errorf("%s: exit code %d, want %d\n%s", line, code, cli.Lacking, text)
		}
	}
	remount := func(how string) {
		t.Helper()
		if out, err := exec.Command("mount", "-o", "remount,"+how, disk).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	remount("ro")
	refused("read-only file system")
	remount("rw")
	must(t, os.Remove(fill))
	stop = votes(t, "a", there, stores.List(peers))
	led(t, peers)
	stop()
}
