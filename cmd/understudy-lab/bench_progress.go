package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/internal/cli"
	"github.com/understudy-ha/understudy/internal/failover"
)

// A progress shows how far each store is: bars on a terminal, a line now and then
// elsewhere.
type progress struct {
	out   io.Writer
	tty   bool
	order []string
	at    map[string]failover.Progress
	drawn int // bars that stand on the terminal
	said  time.Time
}

// sayEvery is how often a line is written where there is no terminal.
const sayEvery = 10 * time.Second

func newProgress(out io.Writer) *progress {
	return &progress{out: out, tty: cli.Terminal(out), at: map[string]failover.Progress{}}
}

func (p *progress) show(now failover.Progress) {
	if now.Total == 0 { // something that has no number of runs
		fmt.Fprintln(p.out, now.Name)
		p.order, p.drawn = nil, 0
		return
	}
	if !slices.Contains(p.order, now.Name) {
		p.order = append(p.order, now.Name)
	}
	p.at[now.Name] = now
	switch {
	case p.tty:
		p.bars(now.Left)
	case time.Since(p.said) >= sayEvery || now.Left == 0 && now.Name == p.order[len(p.order)-1]:
		p.said = time.Now()
		p.line(now.Left)
	}
}

const barWidth = 30

// bars draws over the bars that are there.
func (p *progress) bars(left time.Duration) {
	if p.drawn > 0 {
		fmt.Fprintf(p.out, "\x1b[%dA", p.drawn)
	}
	p.drawn = len(p.order)
	for _, name := range p.order {
		one := p.at[name]
		full := barWidth * one.Done / one.Total
		fmt.Fprintf(p.out, "\x1b[2K%-16s %s%s %d/%d, %v left\n", name, strings.Repeat("█", full), strings.Repeat("░", barWidth-full),
			one.Done, one.Total, left.Round(time.Second))
	}
}

func (p *progress) line(left time.Duration) {
	var all []string
	for _, name := range p.order {
		all = append(all, fmt.Sprintf("%s %d/%d", name, p.at[name].Done, p.at[name].Total))
	}
	fmt.Fprintf(p.out, "%s, %v left\n", strings.Join(all, ", "), left.Round(time.Second))
}
