package main

import (
	"errors"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/understudy-ha/understudy/internal/cli"
)

// newMan is for who packages or installs the command, so help does not show it.
func newMan() *cobra.Command {
	return &cobra.Command{
		Use: "man DIR", Hidden: true, Example: "  understudy man /usr/local/share/man/man1",
		Short: "Write a man page for every command into a folder",
		Long:  "Writes a man page for every command into a folder, which is made where it is not there.\n" + cli.Codes{0: "they are written", cli.NotDone: "they cannot be written"}.String(),
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 || args[0] == "" {
				return errors.New("man: takes one folder; write understudy man DIR")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			root.DisableAutoGenTag = true // the same program writes the same pages
			err := os.MkdirAll(args[0], 0o755)
			if err == nil {
				err = doc.GenManTree(root, &doc.GenManHeader{Section: "1", Source: "understudy", Manual: "understudy"}, args[0])
			}
			return cli.Unmade(err)
		},
	}
}
