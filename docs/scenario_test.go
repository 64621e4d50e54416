package docs

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/understudy-ha/understudy/internal/lab/script"
)

// A step is one line of a scenario: a word, and what it is about.
//
//	run COMMAND     the page's; it ends by itself
//	long COMMAND    the same, for more than two minutes or with a network: it runs with -long alone
//	start COMMAND   the page's; it goes on until `stop`
//	line FILE LINE  a line of the page that is not a command; it goes into that file
//	names COMMAND   the page only speaks of it: there is such a command, or such a target of make
//	block FILE TEXT the page's one block that holds that text goes into that file
//	with OLD => NEW what differs per machine: OLD is replaced in the lines of the page
//	server NAME     begins one: etcd, consul, postgres, kubernetes, nats, s3, guarded (HTTP behind the fence); cluster (Kubernetes with nodes); or finds ports
//	also COMMAND    the scenario's own; it goes on until `stop`
//	do COMMAND      the scenario's own
//	until COMMAND   the scenario's own, again and again until it says what is wanted
//	killed COMMAND  what was started so has ended by SIGKILL
//	stop            SIGTERM to all that was started, and all end with 0
//
// What is expected after a step is lines that come in this order in what it says; "..." is
// anything within a line, and "exit 1" its exit code.
type step struct{ word, text string }

// ofPage are the words of the steps that are in the page, word for word.
var ofPage = []string{"run", "long", "start", "line", "names"}

var words = append([]string{"block", "also", "with", "server", "do", "until", "killed", "stop"}, ofPage...)

// readSteps splits the lines of a scenario.
func readSteps(s script.Script) (all []step, err error) {
	for _, line := range s.Steps() {
		one := readStep(line)
		if !slices.Contains(words, one.word) {
			return nil, fmt.Errorf("%s: %q: there is no such step", s.Path, line)
		}
		all = append(all, one)
	}
	return all, nil
}

func readStep(line string) (s step) {
	s.word, s.text, _ = strings.Cut(line, " ")
	return s
}

// shown is the page's line that a step runs, or "".
func (s step) shown() string {
	switch {
	case s.word == "line":
		_, line, _ := strings.Cut(s.text, " ")
		return line
	case slices.Contains(ofPage, s.word):
		return s.text
	}
	return ""
}

// missing are the page's commands that no step runs, and the steps that say of a command that
// the page shows it, and it does not; so are those of a block that the page has not, or twice.
func missing(p page, steps []step) (notRun, notShown []string) {
	shown := slices.Concat(p.commands, p.named)
	for _, command := range shown {
		named := slices.Contains(p.named, command) && !slices.Contains(p.commands, command)
		if !slices.ContainsFunc(steps, func(s step) bool { return s.shown() == command && (named || s.word != "names") }) {
			notRun = append(notRun, command)
		}
	}
	for _, s := range steps {
		if s.shown() != "" && !slices.Contains(shown, s.shown()) {
			notShown = append(notShown, s.shown())
		}
		if _, text, _ := strings.Cut(s.text, " "); s.word == "block" {
			if _, ok := p.block(text); !ok {
				notShown = append(notShown, s.word+" "+s.text)
			}
		}
	}
	return notRun, notShown
}

// wanted reads what is expected of a step.
func wanted(text string) (exit string, lines []string) {
	exit = "0"
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if code, ok := strings.CutPrefix(line, "exit "); ok {
			exit = code
		} else {
			lines = append(lines, line)
		}
	}
	return exit, lines
}

// lacks is the first wanted line that output does not have, or "".
func lacks(output string, lines []string) string {
	has := func(line, want string) bool {
		return regexp.MustCompile(strings.ReplaceAll(regexp.QuoteMeta(want), `\.\.\.`, `.*`)).MatchString(line)
	}
	for line := range strings.Lines(output) {
		if len(lines) > 0 && has(line, lines[0]) {
			lines = lines[1:]
		}
	}
	if len(lines) == 0 {
		return ""
	}
	return lines[0]
}
