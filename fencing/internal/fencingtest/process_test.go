package fencingtest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/internal/lab"
)

// A process is a contender that runs.
type process struct {
	*lab.Child
	contender
}

func (c contender) start(t testing.TB) *process {
	t.Helper()
	return &process{lab.Talk(t, lab.Self(t, childVariable, c)), c}
}

// token waits until the contender is active.
func (p *process) token(t testing.TB) (token uint64) {
	t.Helper()
	_, err := fmt.Sscanf(p.Hear(), "active %d", &token)
	must(t, err)
	return token
}

// end has the contender stop by itself, and returns what it had still to say.
func (p *process) end(t testing.TB) []string {
	t.Helper()
	lines := p.Rest()
	must(t, p.Wait())
	return lines
}

// said returns the ends of the lines that begin so.
func said(lines []string, begin string) (ends []string) {
	for _, line := range lines {
		if end, ok := strings.CutPrefix(line, begin); ok {
			ends = append(ends, end)
		}
	}
	return ends
}
