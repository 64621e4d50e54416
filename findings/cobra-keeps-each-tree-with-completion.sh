#!/usr/bin/env bash
# A cobra command that offers completion for a flag is never freed.
#
# Guess: the function given to RegisterFlagCompletionFunc belongs to its command, and goes with it. A program that builds
# its tree anew for each line, as a console, a bot or a test does, has one tree at a time.
# What happens: the functions stand in a map of the package, by the flag's address, and nothing takes them out. Each flag
# there keeps its function, and what the function refers to, here the whole command, for as long as the process lives.
# For users of understudy: nothing to do; a program that runs commands in its own process offers completion only where
# the shell asks, which is when the first argument is __complete or __completeNoDesc.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
go version
go mod init example.com/finding 2> /dev/null
go mod edit -require github.com/spf13/cobra@v1.10.2
cat > main.go <<'GO'
package main

import (
	"fmt"
	"os"
	"runtime"

	"github.com/spf13/cobra"
)

func main() {
	const trees, size = 200, 100_000
	for range trees {
		state := make([]byte, size)
		root := &cobra.Command{Use: "ctl", RunE: func(*cobra.Command, []string) error { state[0]++; return nil }}
		root.Flags().String("role", "", "which")
		if len(os.Args) > 1 {
			_ = root.RegisterFlagCompletionFunc("role", func(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
				return []string{fmt.Sprint(state[0])}, cobra.ShellCompDirectiveNoFileComp
			})
		}
		root.SetArgs([]string{"--role", "r"})
		if root.Execute() != nil {
			os.Exit(1)
		}
	}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	fmt.Println(m.HeapAlloc * 100 / (trees * size)) // percent of what all trees had
}
GO
go mod tidy 2> /dev/null
go list -m github.com/spf13/cobra
go build -o ctl .
without=$(./ctl) with=$(./ctl offered)
echo "of 200 trees that ran and were dropped, $without % is kept without completion of a flag, and $with % with it"
((without < 30 && with > 90)) || { echo CHANGED; exit 1; }
echo "as found: all of them are kept"
