package cli

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/backends"
)

// NewVersion is the command that says what a program was built from.
func NewVersion() *cobra.Command {
	cmd := &cobra.Command{
		Use: "version", Short: "Print what this program was built from", Args: NoArgs,
		Example: "  understudy version -o json",
	}
	output := Output(cmd.Flags())
	Once(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		v := built()
		if *output == "json" {
			return json.NewEncoder(cmd.OutOrStdout()).Encode(v)
		}
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s %s\n", cmd.Root().Name(), v)
		return err
	}
	return cmd
}

// A build is what this program was built from.
type build struct {
	Version  string   `json:"version"`
	Commit   string   `json:"commit"`
	Go       string   `json:"go"`
	Platform string   `json:"platform"`
	Backends []string `json:"backends"`
}

func built() build {
	b := build{"unknown", "unknown", runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH, backends.Names()}
	if info, ok := debug.ReadBuildInfo(); ok {
		b.Version = info.Main.Version
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				b.Commit = s.Value
			}
		}
	}
	return b
}

// String is a line for people.
func (b build) String() string {
	return fmt.Sprintf("%s, commit %s, %s, %s, backends %s", b.Version, b.Commit, b.Go, b.Platform, strings.Join(b.Backends, ", "))
}
