// Command understudy runs one copy of a program among many machines, and shows
// and steers which one.
package main

import (
	"context"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/internal/cli"
)

func main() {
	cli.Prepare()
	os.Exit(program(os.Args[1:]))
}

// program is the whole process.
func program(args []string) int {
	return cli.Execute(context.Background(), rootFor(hear(args), args), args, os.Stdout, os.Stderr)
}

// execute runs one command line and returns the exit code.
func execute(ctx context.Context, args []string, out, errs io.Writer) int {
	return cli.Execute(ctx, rootFor(nil, args), args, out, errs)
}

// rootFor is newRoot for one command line, which may be the shell's question. Only then is it said what there is to
// offer: whatever has been told that lives as long as the process.
func rootFor(s *signals, args []string) *cobra.Command {
	root := newRoot(s)
	if cli.Completes(args) {
		offerNames(root.Commands()...)
	}
	return root
}

func newRoot(s *signals) *cobra.Command {
	root := &cobra.Command{
		Use:   "understudy",
		Short: "Active-standby for any program: one runs, the others stand by",
		Long: `Start a program on two or more machines; one is active, the others stand by and take
over when it stops, crashes, hangs or is cut off.

Every flag is also an environment variable, and every setting can be in a file that --config
names: --raft-peers is UNDERSTUDY_RAFT_PEERS, and raft.peers in the file. A flag overrides a
variable, and a variable overrides the file.`,
		Example: `  understudy demo
  understudy run --role billing --id a --raft-dir /var/lib/a --raft-peers a=h1:7001,b=h2:7001,c=h3:7001 -- ./billing
  understudy status --role billing --raft-peers a=h1:7001,b=h2:7001,c=h3:7001`,
	}
	root.AddCommand(newRun(s), newStatus(), newHistory(), newWhy(), newHandoff(), newStepDown(), newPause(), newHealthcheck(), newCopy(), newResume(), newDrain(), newPriority(), newEvict(), newTokenFloor(), newAdopt(), newVoter(s), newRaft(), newPlan(), newConfig(), cli.NewVersion(), newMan(),
		inLab("demo", "Three real processes lose and regain an active, on embedded Raft, in under a minute"),
		inLab("bench", "Measure failover on real processes and real stores, and draw it"),
		inLab("conformance", "Prove on a store of yours that it keeps every rule"),
		inLab("probe", "Say in some seconds whether a store can hold a lock"))
	return root
}
