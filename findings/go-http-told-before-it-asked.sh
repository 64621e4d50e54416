#!/usr/bin/env bash
# A server that speaks first, as SSH does, has two errors in net/http, by chance; one names no cause, and the log gets a line.
#
# Guess: where such a server stands at the address that is asked, http.Client says "malformed HTTP response" and shows
# what it heard.
# What happens: it does if the request was written before the greeting was read. Otherwise the error is
# "readLoopPeekFailLocked: %!w(<nil>)", which shows nothing and unwraps to nothing, and a line goes to package log, that is
# to standard error, whatever the program logs with.
# For users of understudy: an address of Consul or of a peer at which something else speaks first is named as such in both cases.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
export GOTOOLCHAIN=go1.26.8
go version
go mod init example.com/finding 2> /dev/null
cat > main.go <<'GO'
package main

import (
	"bytes"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
)

func main() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte("SSH-2.0-another\r\n"))
			go func() { _, _ = c.Read(make([]byte, 1<<10)); _ = c.Close() }()
		}
	}()
	var lines bytes.Buffer
	log.SetOutput(&lines)
	kinds := map[string]int{}
	for n := 0; n < 20000 && (n < 1000 || kinds["readLoopPeekFailLocked: %!w(<nil>)"] < 3); n++ {
		_, err := http.Get("http://" + l.Addr().String())
		switch text := err.Error(); {
		case strings.Contains(text, "malformed HTTP response \"SSH-2.0-another\""):
			kinds["malformed HTTP response"]++
		case strings.HasSuffix(text, "readLoopPeekFailLocked: %!w(<nil>)"):
			kinds["readLoopPeekFailLocked: %!w(<nil>)"]++
		default:
			kinds[text]++
		}
	}
	for kind, n := range kinds {
		fmt.Println(n, "times", kind)
	}
	first, _, _ := strings.Cut(lines.String(), "\n")
	fmt.Println("in the log:", first)
	if kinds["malformed HTTP response"] == 0 || kinds["readLoopPeekFailLocked: %!w(<nil>)"] == 0 || !strings.Contains(first, "Unsolicited response") {
		fmt.Println("CHANGED")
		os.Exit(1)
	}
}
GO
go run .
