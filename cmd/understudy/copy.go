package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/internal/cli"
)

func newCopy() *cobra.Command {
	return &cobra.Command{
		Use:   "copy PATH",
		Short: "Copy this program to a path: for an init container, whose image has nothing else",
		Long: `Copies this program to PATH, where everybody may run it, and replaces what is there. An init container
does that into a volume that it shares with your image's container: so your image needs nothing of understudy.
` + cli.Codes{0: "it is there"}.String(),
		Example: `  understudy copy /understudy/understudy`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 || args[0] == "" {
				return fmt.Errorf("copy %q: takes one path, such as /understudy/understudy", args)
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			return copyTo(args[0])
		},
	}
}

// copyTo puts this program there in one piece: whoever runs it finds all of it or nothing.
func copyTo(path string) error {
	name, err := os.Executable()
	if err != nil {
		return err
	}
	from, err := os.Open(name)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.CreateTemp(filepath.Dir(path), ".understudy-")
	if err != nil {
		return err
	}
	defer os.Remove(to.Name()) // it has another name once it is whole
	_, err = io.Copy(to, from)
	if e := to.Chmod(0o755); err == nil {
		err = e
	}
	if e := to.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	return os.Rename(to.Name(), path)
}
