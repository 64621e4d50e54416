#!/usr/bin/env bash
# A command of cobra's that has only subcommands succeeds at one that it does not know.
#
# Guess: a typing error in "ctl node fense" fails, as one in "ctl nod fence" does, so a script that
# goes on with "&&" stops there.
# What happens: only the root refuses an unknown subcommand. Below it the word counts as an argument of
# a command that cannot run: its help is printed, to stdout, and the exit code is 0. A failover
# script that fences by such a tool and then promotes has promoted without fencing.
# For users of understudy: its commands refuse such a word at every level. A hook that fences checks what was
# done, not the exit code alone.
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

	"github.com/spf13/cobra"
)

func main() {
	root := &cobra.Command{Use: "ctl"}
	node := &cobra.Command{Use: "node", Short: "what one does with a node"}
	node.AddCommand(&cobra.Command{Use: "fence", Run: func(*cobra.Command, []string) { fmt.Println("fenced") }})
	root.AddCommand(node)
	if len(os.Args) > 1 && os.Args[1] == "--strict" {
		os.Args = append(os.Args[:1], os.Args[2:]...)
		node.Args, node.Run = cobra.NoArgs, func(c *cobra.Command, _ []string) { _ = c.Help() }
	}
	if root.Execute() != nil {
		os.Exit(1)
	}
}
GO
go mod tidy 2> /dev/null
go list -m github.com/spf13/cobra
go build -o ctl .
codes=''
for arguments in "node fence" "nod fence" "node fense" "--strict node fense"; do
	code=0
	timeout 20 ./ctl $arguments > out 2> errors || code=$?
	echo "ctl $arguments: exit code $code; stdout: $(head -1 out); stderr: $(head -1 errors)"
	codes+="$code "
done
[[ $codes == "0 1 0 1 " ]] || { echo "CHANGED: $codes"; exit 1; }
echo "as found: the help, and success"
