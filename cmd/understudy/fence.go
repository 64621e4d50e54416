package main

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os/exec"
	"regexp"
	"slices"
	"strings"

	"github.com/understudy-ha/understudy/internal/procgroup"
	"github.com/understudy-ha/understudy/lock"
)

// A fence is the fence command.
type fence struct {
	options *options
	log     *slog.Logger
}

// run runs it against the host of a contender, and returns nil where it says that the host is dead: as soon as its first
// process has ended, whatever that has left in the background. The coordinator gives it its time.
func (f *fence) run(ctx context.Context, holder lock.Contender) error {
	code, err := script(ctx, f.log, "the fence command", procgroup.Spec{
		Title: "fence:", Path: "/bin/sh", Argv: []string{"sh", "-c", f.options.Run.Fence},
		Env: append(f.options.childEnvironment(), fenceVariables(holder)...),
	}, (*procgroup.Group).Done)
	if err == nil && code != 0 {
		err = fmt.Errorf("it ended with code %d", code)
	}
	return err
}

// fenceVariables name the contender whose host is to die.
func fenceVariables(c lock.Contender) []string {
	all := []string{"UNDERSTUDY_FENCE_ID=" + c.ID, "UNDERSTUDY_FENCE_ADDRESS=" + c.Address, "UNDERSTUDY_FENCE_SESSION=" + string(c.Session)}
	for _, key := range slices.Sorted(maps.Keys(c.Labels)) {
		name := strings.ToUpper(notInNames.ReplaceAllString(key, "_"))
		all = append(all, "UNDERSTUDY_FENCE_LABEL_"+name+"="+c.Labels[key])
	}
	return all
}

var notInNames = regexp.MustCompile("[^a-zA-Z0-9_]")

// checkFence says why the fence command cannot be run, before anything is written. Its first word
// tells, where the shell does not make another one of it.
func (o *options) checkFence() error {
	words := strings.Fields(o.Run.Fence)
	if len(words) == 0 || strings.ContainsAny(words[0], "=$`\"'\\;&|<>(){}*?[#~!") {
		return nil
	}
	err := o.inTime(words[:1], func() (err error) {
		if strings.Contains(words[0], "/") {
			_, err = exec.LookPath(words[0])
		} else { // it may be the shell's own
			err = exec.Command("/bin/sh", "-c", `command -v "$0"`, words[0]).Run()
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("fence %q: there is no command %q; write its path, or a name that is in PATH", o.Run.Fence, words[0])
	}
	return nil
}
