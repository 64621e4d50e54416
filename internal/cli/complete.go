package cli

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/understudy-ha/understudy/config"
)

// Completes reports whether a command line is the shell's question of how another one could go on. Cobra keeps each flag that
// something is offered for, with its whole command, as long as the process lives: so offer nothing to others.
func Completes(args []string) bool {
	return len(args) > 0 && strings.HasPrefix(args[0], cobra.ShellCompRequestCmd)
}

// offerWords, for a process that the shell asks, has it offer the values of each flag that has few, and a file only where one is
// meant. What a program has said of a flag itself stays so.
func offerWords(cmd *cobra.Command) {
	for _, below := range cmd.Commands() {
		offerWords(below)
	}
	if cmd.ValidArgsFunction == nil && !takesFiles(cmd.Use) {
		cmd.ValidArgsFunction = cobra.NoFileCompletions
	}
	words := map[string][]string{"output": {"table", "json"}}
	for _, k := range config.Keys() {
		words[k.Flag()] = k.OneOf
	}
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		_, said := cmd.GetFlagCompletionFunc(f.Name)
		if said || namesFile(f.Name) {
			return
		}
		offer := cobra.FixedCompletions(words[f.Name], cobra.ShellCompDirectiveNoFileComp)
		_ = cmd.RegisterFlagCompletionFunc(f.Name, offer) // the flag is there
	})
}

// takesFiles reports whether a command's arguments are files, or the parts of a command.
func takesFiles(use string) bool {
	return strings.Contains(use, "COMMAND") || strings.Contains(use, "DIR") || strings.Contains(use, "FILE")
}

// namesFile reports whether a flag names a file or a folder.
func namesFile(flag string) bool {
	return flag == "config" || flag == "out" || flag == "dir" || strings.HasSuffix(flag, "-file") || strings.HasSuffix(flag, "-dir")
}
