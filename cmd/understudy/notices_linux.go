package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/time/rate"

	"github.com/understudy-ha/understudy/coordinator"
)

// Notices are a command's messages about itself, by the protocol of sd_notify(3): datagrams to the
// socket that NOTIFY_SOCKET names, with an assignment in each line. The socket is an abstract one,
// so nothing of it can be left behind.
type notices struct {
	conn     *net.UnixConn
	watchdog time.Duration
	log      *slog.Logger
}

// listenForNotices opens a socket for one term's command.
func listenForNotices(watchdog time.Duration, log *slog.Logger) (*notices, error) {
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: "@understudy/" + rand.Text(), Net: "unixgram"})
	if err != nil {
		return nil, err
	}
	raw, err := conn.SyscallConn()
	if err == nil {
		var refused error
		err = raw.Control(func(fd uintptr) {
			refused = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSCRED, 1)
		})
		err = errors.Join(err, refused)
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return &notices{conn, watchdog, log}, nil
}

// environment tells the command about the socket.
func (n *notices) environment() []string {
	return []string{"NOTIFY_SOCKET=" + n.conn.LocalAddr().String(), fmt.Sprint("WATCHDOG_USEC=", n.watchdog.Microseconds())}
}

// follow receives the command's messages, until the socket is closed.
func (n *notices) follow(t coordinator.Term) {
	seldom, last := rate.NewLimiter(rate.Every(15*time.Second), 4), ""
	text, rights := make([]byte, 4096), make([]byte, unix.CmsgSpace(unix.SizeofUcred))
	for starting, end := true, time.Now().Add(startFor); ; {
		_ = n.conn.SetReadDeadline(time.Now().Add(n.watchdog / 4)) // it fails if the socket is closed, and so does the read
		size, of, _, _, err := n.conn.ReadMsgUnix(text, rights)
		var netErr net.Error
		switch {
		case errors.As(err, &netErr) && netErr.Timeout():
			if starting && time.Now().After(end) {
				starting = false
				n.log.Warn("the command has sent neither READY=1 nor WATCHDOG=1 to NOTIFY_SOCKET: with --watchdog it must", "after", startFor)
			}
			if starting {
				t.Progress()
			}
			continue
		case err != nil:
			return
		case !ofOurs(rights[:of]):
			continue
		}
		for line := range strings.Lines(string(text[:size])) {
			line = strings.TrimSpace(line)
			status, is := strings.CutPrefix(line, "STATUS=")
			switch {
			case line == "WATCHDOG=1" || line == "READY=1":
				starting = false
				t.Progress()
			case is && status != last && seldom.Allow():
				last = status
				n.log.Info("the command says", "line", status[:min(len(status), longestLine)])
			}
		}
	}
}

func (n *notices) close() { _ = n.conn.Close() } // nothing was written to it

// ofOurs reports whether a datagram was sent by this user, or by a descendant of this process:
// anybody may find the socket's name.
func ofOurs(rights []byte) bool {
	messages, err := unix.ParseSocketControlMessage(rights)
	if err != nil || len(messages) != 1 {
		return false
	}
	sender, err := unix.ParseUnixCredentials(&messages[0])
	return err == nil && (int(sender.Uid) == os.Geteuid() || sender.Uid == 0 || descends(int(sender.Pid)))
}

// descends reports whether a living process is a descendant of this one.
func descends(pid int) bool {
	for range 100 {
		if pid == syscall.Getpid() {
			return true
		}
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return false
		}
		_, after, _ := strings.Cut(string(text[strings.LastIndexByte(string(text), ')')+1:]), " ")
		fields := strings.Fields(after) // its state, and its parent
		if len(fields) < 2 {
			return false
		}
		if pid, err = strconv.Atoi(fields[1]); err != nil || pid <= 1 {
			return false
		}
	}
	return false
}
