package main

import (
	"fmt"
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
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("man: takes one folder, and %d are given; write understudy man DIR", len(args))
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
			if err != nil {
				err = cli.Exit(cli.NotDone, err)
			}
			return err
		},
	}
}
