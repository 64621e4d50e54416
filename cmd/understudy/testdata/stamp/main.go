// Command stamp says every two milliseconds that it works, until SIGTERM, as the
// command of the tests does. It starts faster.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	for {
		var now unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
			panic(err)
		}
		fmt.Printf("%s %d %s %d\n", os.Getenv("UNDERSTUDY_TOKEN"), os.Getpid(), os.Getenv("UNDERSTUDY_ID"), now.Nano())
		select {
		case <-stop:
			return
		case <-time.After(2 * time.Millisecond):
		}
	}
}
