package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/internal/cli"
)

// labProgram has the commands that measure and prove. They are a program of their own so that the
// process beside a command in production carries none of them.
const labProgram = "understudy-lab"

// inLab is a command of understudy-lab, which replaces this process.
func inLab(name, short string) *cobra.Command {
	return &cobra.Command{
		Use: name, Short: short, DisableFlagParsing: true, Example: "  understudy " + name, ValidArgsFunction: askLab(name),
		Long: short + ".\n\nThis runs " + labProgram + " " + name + " with the same arguments.",
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := findLab()
			if err != nil {
				return cli.Refused(err)
			}
			err = syscall.Exec(path, slices.Concat([]string{cmd.Root().Name(), name}, args), os.Environ())
			return cli.Refused(fmt.Errorf("run %s: %w", path, err))
		},
	}
}

// findLab finds understudy-lab beside this program, or on the PATH.
func findLab() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	path, errBeside := exec.LookPath(filepath.Join(filepath.Dir(self), labProgram))
	if errBeside == nil {
		return path, nil
	}
	if path, err = exec.LookPath(labProgram); err == nil { // one in the working directory is not taken
		return path, nil
	}
	return "", fmt.Errorf("this command is part of %s, which is neither beside %s nor on the PATH: install it with `go install github.com/understudy-ha/understudy/cmd/%s@latest`, or by `make build` if you built this from source", labProgram, self, labProgram)
}
