// Command work works until SIGTERM, as what runs in an image without a shell. Under STAMPS it stamps that it does
// so, in a file of its term; under PORT it answers who it is.
package main

import (
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	if port := os.Getenv("PORT"); port != "" {
		go serve(port)
	}
	dir := os.Getenv("STAMPS")
	if dir == "" {
		<-stop
		return
	}
	f, err := os.OpenFile(filepath.Join(dir, os.Getenv("UNDERSTUDY_TOKEN")+"."+os.Getenv("UNDERSTUDY_ID")), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	must(err)
	stamp(f)
	for tick := time.NewTicker(2 * time.Millisecond); ; stamp(f) {
		select {
		case <-tick.C:
		case <-stop:
			stamp(f)
			return
		}
	}
}

// stamp writes the time by the clock that all processes of a machine share.
func stamp(f *os.File) {
	var now unix.Timespec
	must(unix.ClockGettime(unix.CLOCK_MONOTONIC, &now))
	_, err := fmt.Fprintln(f, now.Nano())
	must(err)
}

func serve(port string) {
	must(http.ListenAndServe(":"+port, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, os.Getenv("UNDERSTUDY_ID"), os.Getenv("UNDERSTUDY_TOKEN"))
	})))
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
