package raft

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
)

// A belonging says to which group something belongs: none, until it meets its own.
type belonging interface {
	group() string
	adopt(group string) error // refuses another group than its own
}

var errOtherGroup = errors.New("not of this group")

// Raft's streams begin with the group's identity, both ways: a byte for its length and its
// text, empty where there is none yet. The one who was called answers before anything
// else, also where it refuses, so that both sides know why.
func greetingOf(m belonging) []byte {
	if m == nil {
		return []byte{0}
	}
	group := m.group()
	return append([]byte{byte(len(group))}, group...)
}

// hearGroup reads the other side's greeting.
func hearGroup(conn net.Conn) (group string, err error) {
	length := make([]byte, 1)
	if _, err := io.ReadFull(conn, length); err != nil {
		return "", err
	}
	text := make([]byte, length[0])
	_, err = io.ReadFull(conn, text)
	return string(text), err
}

// readGreeting reads the other side's greeting, and refuses another group's.
func readGreeting(conn net.Conn, m belonging) error {
	group, err := hearGroup(conn)
	if err != nil || m == nil {
		return err
	}
	if err := m.adopt(group); err != nil {
		return fmt.Errorf("%w: %s says that it belongs to group %s: %w", errOtherGroup, conn.RemoteAddr(), group, err)
	}
	return nil
}

// answerGreeting is the part of who was called.
func answerGreeting(conn net.Conn, m belonging) error {
	refused := readGreeting(conn, m)
	_, err := conn.Write(greetingOf(m))
	return errors.Join(refused, err)
}

// A greeted connection is one that we opened. What comes in first is the other's greeting:
// it is not waited for before something is to be read.
type greeted struct {
	net.Conn
	member belonging
	once   sync.Once
	err    error
}

func (g *greeted) Read(p []byte) (int, error) {
	if g.once.Do(func() { g.err = readGreeting(g.Conn, g.member) }); g.err != nil {
		return 0, g.err
	}
	return g.Conn.Read(p)
}
