package main

import (
	"bufio"
	"io"
	"log/slog"
	"os"
	"slices"
	"time"

	"golang.org/x/time/rate"
)

const (
	longestLine = 1024 // how much of a printed line is logged
	lastLines   = 4    // how many of the last lines of a script, or of a check that failed, are logged: they say why
	settling    = 100 * time.Millisecond
)

// A relay logs what a check or a script prints. A check may run each second and print each time: a line equal to
// the last one is dropped, and so are lines beyond eight a minute, except for the last ones of a script and of a
// check that failed.
type relay struct {
	log     *slog.Logger
	says    string
	lines   *rate.Limiter
	ends    *rate.Limiter // of checks that fail
	last    string        // the line that was logged last
	dropped int           // lines since then
	kept    []string      // the latest lines that were not logged
	failed  bool          // the check before
	told    []string      // what it said last
}

// relayFrom logs what is printed until no process is left that could print. ended (nil: never) says that a check
// is over, and whether it failed.
func relayFrom(out *os.File, log *slog.Logger, says string, ended <-chan bool) {
	defer out.Close()
	r := &relay{log: log, says: says, lines: rate.NewLimiter(rate.Every(15*time.Second), 4), ends: rate.NewLimiter(rate.Every(15*time.Second), 4)}
	lines, failed := make(chan string), false
	go readLines(out, lines)
	var quiet <-chan time.Time // nil: no check has just ended
	for {
		select {
		case line, more := <-lines:
			if !more {
				r.end()
				return
			}
			if r.line(line); quiet != nil { // the last words of the check, or the first of the next one
				quiet = time.After(settling)
			}
		case now := <-ended:
			if quiet != nil { // the one before has just ended
				r.over(failed)
			}
			failed, quiet = now, time.After(settling)
		case <-quiet:
			r.over(failed)
			quiet = nil
		}
	}
}

// readLines sends the beginning of each line.
func readLines(from io.Reader, to chan<- string) {
	defer close(to)
	lines, rest := bufio.NewReaderSize(from, longestLine), false
	for {
		line, more, err := lines.ReadLine()
		if err != nil {
			return
		}
		if !rest { // otherwise it is the rest of a line
			to <- string(line)
		}
		rest = more
	}
}

func (r *relay) line(line string) {
	if line != r.last && r.lines.Allow() {
		r.forget()
		r.say(line)
		return
	}
	r.kept = append(r.kept, line)
	if n := len(r.kept) - lastLines; n > 0 {
		r.kept, r.dropped = r.kept[n:], r.dropped+n
	}
}

func (r *relay) say(line string) {
	attrs := []any{"line", line}
	if r.dropped > 0 {
		attrs = append(attrs, "dropped", r.dropped)
	}
	r.log.Info(r.says, attrs...)
	r.last, r.dropped = line, 0
}

// forget drops what was kept.
func (r *relay) forget() { r.kept, r.dropped = nil, r.dropped+len(r.kept) }

// end logs the last lines where nothing more can come.
func (r *relay) end() {
	for _, line := range r.kept {
		if line == r.last {
			r.dropped++
			continue
		}
		r.say(line)
	}
}

// over logs the last lines of a check that failed, also where they were logged long ago: not each time that it
// fails in the same way.
func (r *relay) over(failed bool) {
	news := failed && len(r.kept) > 0 && (!r.failed || !slices.Equal(r.kept, r.told))
	if r.failed = failed; news && r.ends.Allow() {
		r.told = slices.Clone(r.kept)
		for _, line := range r.kept {
			r.say(line)
		}
		r.kept = nil
	}
	r.forget()
}
