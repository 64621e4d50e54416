package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// newDemoProgram is the program of demo --warm: while it works it answers each connection with its ID and
// token. It may be run cold and warm.
func newDemoProgram() *cobra.Command {
	var load time.Duration
	var address string
	cmd := &cobra.Command{
		Use: "demo-program", Hidden: true, Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			time.Sleep(load) // in place of what takes a program long to start
			fd, err := strconv.Atoi(os.Getenv("UNDERSTUDY_SOCKET"))
			if err != nil {
				if _, err := answerAll(address, os.Getenv("UNDERSTUDY_TOKEN")); err != nil {
					return err
				}
				select {} // until SIGTERM
			}
			return obey(os.NewFile(uintptr(fd), "socket"), address)
		},
	}
	cmd.Flags().DurationVar(&load, "load", 0, "")
	cmd.Flags().StringVar(&address, "listen", "", "")
	return cmd
}

// obey says that it is ready, and works as it is told.
func obey(socket *os.File, address string) error {
	fmt.Fprintln(socket, "READY=1")
	token, end := "", func() {}
	for lines := bufio.NewScanner(socket); lines.Scan(); {
		word, rest, _ := strings.Cut(lines.Text(), " ")
		switch word {
		case "active":
			_, _ = fmt.Sscanf(rest, "token=%s", &token) // it is always there
			var err error
			if end, err = answerAll(address, token); err != nil {
				return err
			}
		case "standby":
			end()
			if end = func() {}; token != "" {
				fmt.Fprintf(socket, "IDLE=%s\n", token)
			}
			token = ""
		case "stop":
			end()
			return nil
		}
	}
	return nil
}

// answerAll answers each connection. When end returns, nothing more is answered.
func answerAll(address, token string) (end func(), err error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = fmt.Fprintln(conn, os.Getenv("UNDERSTUDY_ID"), token) // who asked may be gone
			_ = conn.Close()
		}
	}()
	return func() { _ = l.Close(); <-ended }, nil
}
