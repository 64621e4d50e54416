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
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		v := struct {
			Version  string   `json:"version"`
			Commit   string   `json:"commit"`
			Go       string   `json:"go"`
			Platform string   `json:"platform"`
			Backends []string `json:"backends"`
		}{"unknown", "unknown", runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH, backends.Names()}
		if info, ok := debug.ReadBuildInfo(); ok {
			v.Version = info.Main.Version
			for _, s := range info.Settings {
				if s.Key == "vcs.revision" {
					v.Commit = s.Value
				}
			}
		}
		if *output == "json" {
			return json.NewEncoder(cmd.OutOrStdout()).Encode(v)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s %s, commit %s, %s, %s, backends %s\n",
			cmd.Root().Name(), v.Version, v.Commit, v.Go, v.Platform, strings.Join(v.Backends, ", "))
		return nil
	}
	return cmd
}
