#!/usr/bin/env bash
# Go's exec.Cmd.Start returns no error for a program that was killed before it ran at all.
#
# Guess: Start returns once the program runs, or an error. It waits on a pipe that exec closes, and a child that cannot exec
# writes its error there; so a child that is killed before it gets that far is an error, too.
# What happens: the pipe says nothing of such a child, whose end closes it as exec does: Start returns nil, and only Wait says
# that it was killed. A child waits there for long where the program's file is on a network file system that does not answer;
# here it is on one of FUSE that never opens it.
# For users of understudy: a command that is given up while its file is read counts as not started, whatever Start says.
set -euo pipefail
dir=$(mktemp -d)
trap 'umount "$dir/disk" 2> /dev/null || true; rm -rf "$dir"' EXIT
cd "$dir"
go version
go mod init example.com/finding 2> /dev/null
go get github.com/hanwen/go-fuse/v2@v2.12.1 2> /dev/null
mkdir disk
cat > main.go << 'GO'
package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// A program is a file that takes for ever to open, as on a network file system whose server is gone.
type program struct{ fs.Inode }

func (*program) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	out.Mode, out.Size = 0o755, 100
	return 0
}

func (*program) Open(ctx context.Context, _ uint32) (fs.FileHandle, uint32, syscall.Errno) {
	<-ctx.Done() // who opens it was killed
	return nil, 0, syscall.EINTR
}

type root struct{ fs.Inode }

func (r *root) OnAdd(ctx context.Context) {
	r.AddChild("program", r.NewPersistentInode(ctx, &program{}, fs.StableAttr{Mode: syscall.S_IFREG}), false)
}

func main() {
	server, err := fs.Mount("disk", &root{}, &fs.Options{})
	if err != nil {
		panic(err)
	}
	defer server.Unmount()
	go func() { // somebody kills the child while it waits for the file
		for ; ; time.Sleep(100 * time.Millisecond) {
			entries, _ := os.ReadDir("/proc/self/task")
			for _, e := range entries {
				text, _ := os.ReadFile("/proc/self/task/" + e.Name() + "/children")
				for _, pid := range strings.Fields(string(text)) {
					var n int
					fmt.Sscan(pid, &n)
					syscall.Kill(n, syscall.SIGKILL)
				}
			}
		}
	}()
	cmd := exec.Command("disk/program")
	fmt.Println("Start:", cmd.Start())
	fmt.Println("Wait:", cmd.Wait())
}
GO
go mod tidy 2> /dev/null
go build -o try .
./try | tee seen
diff seen - << 'EXPECTED'
Start: <nil>
Wait: signal: killed
EXPECTED
