// Command understudy-lab measures failover, proves that a store keeps every rule, and shows
// an active lost and regained. `understudy bench` and so on run it.
package main

import (
	"context"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/understudy-ha/understudy/internal/cli"
)

func main() {
	cli.Prepare()
	os.Exit(execute(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}

// execute runs one command line and returns the exit code.
func execute(ctx context.Context, args []string, out, errs io.Writer) int {
	return cli.Execute(ctx, newRoot(), args, out, errs)
}

func newRoot() *cobra.Command {
	name := "understudy-lab"
	if filepath.Base(os.Args[0]) == "understudy" { // which has started this in its place: usage and errors are as was typed
		name = "understudy"
	}
	root := &cobra.Command{
		Use:   name,
		Short: "Measure failover, prove a store, and see an active lost and regained",
		Long: `Measures failover on real processes and stores, proves that a store keeps every rule, and
shows an active lost and regained. Each command is also one of understudy: understudy bench
runs understudy-lab bench.`,
		Example: `  understudy-lab demo
  understudy-lab bench --quick
  understudy-lab conformance --backend etcd --etcd-endpoints h1:2379`,
	}
	root.AddCommand(newDemo(), newDemoContender(), newDemoProgram(), newBench(), newBenchContender(), newConformance(), newProbe(), cli.NewVersion())
	return root
}

// options are those of a command.
type options struct{ *cli.Options }

func newOptions(set *pflag.FlagSet, keys ...[]string) *options {
	return &options{cli.NewOptions(set, keys...)}
}
