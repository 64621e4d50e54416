//go:build linux

package faultdisk

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// variable has this program serve a disk, instead of what it is for: where it is mounted, and what
// is below. A process must not serve a disk that it uses: while it waits for a page of a mapped
// file the garbage collector waits for it, and with it all that could bring the page.
const variable = "UNDERSTUDY_FAULTDISK"

func init() {
	var where [2]string
	if json.Unmarshal([]byte(os.Getenv(variable)), &where) != nil {
		return
	}
	if err := serve(where[0], where[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// command is this program as a server.
func command(dir, below string) *exec.Cmd {
	where, _ := json.Marshal([2]string{dir, below}) // two strings can be written
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), variable+"="+string(where))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // what ends a test by its terminal does not end it
	return cmd
}

// serve mounts a disk, answers each fault that it is told with how many calls it holds, and unmounts
// it when nobody is left who could tell more.
func serve(dir, below string) error {
	under, err := fs.NewLoopbackRoot(below)
	if err != nil {
		return err
	}
	d, root := &disk{changed: make(chan struct{})}, os.Geteuid() == 0
	server, err := fs.Mount(dir, &node{under.(*fs.LoopbackNode), d}, &fs.Options{MountOptions: fuse.MountOptions{
		FsName: "faultdisk", Name: "faultdisk",
		AllowOther: root, DirectMount: root,
		DisabledCapabilities: fuse.CAP_PASSTHROUGH, // else the kernel writes past us
	}})
	if err != nil {
		return err
	}
	answers, orders := json.NewEncoder(os.Stdout), json.NewDecoder(os.Stdin)
	err = answers.Encode(0) // it is mounted
	for err == nil {
		var order *Fault // nil: no change
		if err = orders.Decode(&order); err != nil {
			break
		}
		if order != nil {
			d.set(*order)
		}
		err = answers.Encode(d.holds())
	}
	d.set(Fault{})
	if root { // also while somebody uses it
		return syscall.Unmount(dir, syscall.MNT_DETACH)
	}
	return server.Unmount()
}

// A disk is how one stands, on the server's side.
type disk struct {
	mu      sync.Mutex
	fault   Fault
	changed chan struct{} // closed and replaced by set
	held    int           // how many calls hang, or are being answered
}

func (d *disk) set(f Fault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fault = f
	close(d.changed)
	d.changed = make(chan struct{})
}

func (d *disk) holds() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.held
}

func (d *disk) now() (Fault, <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.fault, d.changed
}

func (d *disk) hold(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.held += n
}

// change is why nothing can be changed, or 0. more says that it takes room.
func (d *disk) change(more bool) syscall.Errno {
	f, _ := d.now()
	time.Sleep(f.Slow) // that it takes so long is the fault
	switch {
	case f.ReadOnly:
		return syscall.EROFS
	case f.Full && more:
		return syscall.ENOSPC
	}
	return 0
}

// sync returns when an fsync may.
func (d *disk) sync(ctx context.Context) syscall.Errno {
	if errno := d.change(false); errno != 0 {
		return errno
	}
	return d.wait(ctx, func(f Fault) bool { return f.Stalled })
}

// look returns when a name may be looked for.
func (d *disk) look(ctx context.Context) syscall.Errno {
	return d.wait(ctx, func(f Fault) bool { return f.Silent })
}

// open returns when a file may be opened.
func (d *disk) open(ctx context.Context) syscall.Errno {
	return d.wait(ctx, func(f Fault) bool { return f.Silent || f.Unread })
}

// wait returns when a fault is over, or ends with a signal.
func (d *disk) wait(ctx context.Context, has func(Fault) bool) syscall.Errno {
	d.hold(1)
	defer d.hold(-1)
	for {
		f, changed := d.now()
		if !has(f) {
			return 0
		}
		var signal <-chan struct{}
		if f.Killable {
			signal = ctx.Done()
		}
		select {
		case <-changed:
		case <-signal:
			return syscall.EINTR
		}
	}
}
