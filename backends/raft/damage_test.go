package raft

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/lab"
)

// spoil damages one file of a directory, in one of several ways.
func spoil(t *testing.T, dir string, r *rand.Rand) string {
	t.Helper()
	files := append(glob(t, dir, "snapshots/*/*"), filepath.Join(dir, markerFile), filepath.Join(dir, logFile), filepath.Join(dir, logFile), filepath.Join(dir, logFile), filepath.Join(dir, logFile))
	file := files[r.IntN(len(files))]
	data, err := os.ReadFile(file)
	must(t, err)
	at, n := r.IntN(len(data)), 1+r.IntN(64)
	if strings.HasSuffix(file, logFile) { // most of it is free
		for ; data[at] == 0; at = r.IntN(len(data)) {
		}
	}
	how := r.IntN(4)
	end := min(at+n, len(data))
	switch how {
	case 0: // a few bytes
		for i := at; i < end; i++ {
			data[i] = byte(r.UintN(256))
		}
	case 1: // one bit
		data[at] ^= 1 << r.UintN(8)
	case 2: // a page of zeros
		at &^= 4095
		clear(data[at:min(at+4096, len(data))])
	case 3: // a page of another place
		at &^= 4095
		from := r.IntN(len(data)) &^ 4095
		copy(data[at:min(at+4096, len(data))], bytes.Clone(data[from:min(from+4096, len(data))]))
	}
	must(t, os.WriteFile(file, data, 0o600))
	return fmt.Sprintf("%s at %d, way %d", strings.TrimPrefix(file, dir), at, how)
}

// TestOneBitOfASnapshotsMeta: what meta.json says of a snapshot, its members and its index, is what
// the library believes. So one bit that is another is refused by name, whichever it is.
func TestOneBitOfASnapshotsMeta(t *testing.T) {
	ours, _, _, _ := grownDirectory(t, "a")
	newest := newestSnapshot(t, ours)
	dir := filepath.Join(t.TempDir(), "a")
	must(t, os.CopyFS(dir, os.DirFS(ours)))
	file := filepath.Join(dir, snapFolder, newest, metaFile)
	good, err := os.ReadFile(file)
	must(t, err)
	if _, _, err := inspect(dir, "a"); err != nil {
		t.Fatal(err)
	}
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1 << (i % 8)
		must(t, os.WriteFile(file, bad, 0o600))
		_, _, err := inspect(dir, "a")
		if want := newest + "/" + metaFile + " is damaged"; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("byte %d, %q: got %v, want %q", i, bad[max(0, i-20):i+1], err, want)
		}
	}
}

// TestDamageIsToldByName: a node on a damaged directory works, or ends with an error that
// names the directory and the cure. It never ends with a panic of a library.
func TestDamageIsToldByName(t *testing.T) {
	t.Parallel()
	ours, _, _, _ := grownDirectory(t, "a")
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	for range 30 {
		seed++
		dir := filepath.Join(t.TempDir(), "a")
		must(t, os.CopyFS(dir, os.DirFS(ours)))
		what := spoil(t, dir, rand.New(rand.NewPCG(seed, 0)))
		cmd, said := lab.Self(t, "RAFT_TEST_NODE", Config{ID: "a", Dir: dir, Peers: []Peer{{"a", freeAddress(t)}}, Timing: minTiming}), new(bytes.Buffer)
		out, err := cmd.StdoutPipe()
		must(t, err)
		cmd.Stderr = said
		must(t, cmd.Start())
		works := make(chan bool, 1)
		go func() {
			_, err := out.Read(make([]byte, 1))
			works <- err == nil
		}()
		ended := false
		select {
		case ok := <-works:
			ended = !ok
		case <-time.After(3 * time.Second): // it waits for a leader: the damage says that it is not a member
		}
		_ = cmd.Process.Kill() // unless it has ended
		_ = cmd.Wait()
		if text := said.String(); ended && !strings.Contains(text, "data directory "+dir) || strings.Contains(text, "goroutine ") {
			t.Errorf("%s: want an error that names the directory, got %s", what, text)
		}
	}
}
