//go:build linux

package procgroup

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/internal/lab/faultdisk"
)

// TestSilentDisk starts programs from a disk that does not answer. A start can be given up, whether or not signals end what
// hangs, and the program does nothing when the disk answers again.
func TestSilentDisk(t *testing.T) {
	path := func(dir string) string { return filepath.Join(dir, "program") }
	name := func(string) string { return "program" }
	for what, test := range map[string]struct {
		path  func(dir string) string
		fault faultdisk.Fault
	}{
		"looking for its path":                 {path, faultdisk.Fault{Silent: true, Killable: true}},
		"looking for its path, unkillable":     {path, faultdisk.Fault{Silent: true}},
		"looking for its name":                 {name, faultdisk.Fault{Silent: true, Killable: true}},
		"looking for its name, and unkillable": {name, faultdisk.Fault{Silent: true}},
		"reading it":                           {path, faultdisk.Fault{Unread: true, Killable: true}},
		"reading it, unkillable":               {path, faultdisk.Fault{Unread: true}},
	} {
		t.Run(what, func(t *testing.T) {
			disk, ran := faultdisk.New(t), filepath.Join(t.TempDir(), "ran")
			lab.Must(t, os.WriteFile(filepath.Join(disk.Dir, "program"), []byte("#!/bin/sh\n: > "+ran+"\n"), 0o700))
			s := shell("")
			s.Path, s.Argv, s.Env = test.path(disk.Dir), []string{"program"}, []string{"PATH=" + disk.Dir + ":/bin"}
			disk.Set(test.fault)
			over, at := context.WithCancel(context.Background())
			at() // before its init begins
			if g, _ := Start(over, s); g != nil {
				<-g.Gone()
			}
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			returned := make(chan *Group, 1)
			go func() {
				g, _ := Start(ctx, s) // there may be no error: see its comment
				returned <- g
			}()
			lab.Eventually(t, "it hangs", func() bool { return disk.Held() > 0 })
			select {
			case <-returned:
				t.Fatal("it started")
			case <-time.After(100 * time.Millisecond):
			}
			cancel()
			if g := <-returned; g != nil {
				<-g.Gone()
			}
			disk.Set(faultdisk.Fault{})
			time.Sleep(100 * time.Millisecond) // what could run would
			if _, err := os.Stat(ran); err == nil {
				t.Error("it ran, though it had been given up")
			}
		})
	}
}
