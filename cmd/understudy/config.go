package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/config"
	"github.com/understudy-ha/understudy/internal/cli"
)

func newConfig() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Show the settings and where each came from, or their file's schema",
		Example: `  understudy config show --origin --config understudy.yaml
  understudy config schema > understudy.schema.json`,
	}
	cmd.AddCommand(newConfigShow(), newConfigSchema())
	return cmd
}

func newConfigShow() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Print the effective value of every setting; secrets are left out",
		Long: `Prints every setting as run would use it, each as a line of YAML. --origin adds where it
came from: the default, a line of the file, a variable, or a flag. Mistakes in the settings are
printed after them.
` + cli.Codes{0: "there are none"}.String(),
		Example: `  understudy config show --origin --config understudy.yaml`,
		Args:    cli.NoArgs,
	}
	keys := make([]string, 0, len(config.Keys()))
	for _, k := range config.Keys() {
		keys = append(keys, k.Name)
	}
	o := newOptions(cmd.Flags(), keys)
	origin := cmd.Flags().Bool("origin", false, "show where each came from")
	o.Collect()
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		wrong := o.Read(cmd)
		wrong = errors.Join(wrong, o.ForPlan()) // defaults that depend on other settings
		var text strings.Builder
		for _, v := range o.Values() {
			line := v.Key.Name + ": " + v.Text
			switch {
			case v.Text == "" && !*origin:
				continue
			case v.Text == "":
				line = "# " + v.Key.Name + ":"
			}
			if *origin {
				line = fmt.Sprintf("%-40s # %s", line, v.Origin) // a long value pushes no other
			}
			fmt.Fprintln(&text, line)
		}
		_, err := io.WriteString(cmd.OutOrStdout(), text.String())
		return errors.Join(cli.Mistake(wrong), err)
	}
	return cmd
}

func newConfigSchema() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON schema of the file, for editors",
		Example: `  understudy config schema > understudy.schema.json
  # and in the file: # yaml-language-server: $schema=understudy.schema.json`,
		Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			text, err := json.MarshalIndent(config.Schema(), "", "  ")
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), strings.TrimSpace(string(text)))
			return err
		},
	}
}
