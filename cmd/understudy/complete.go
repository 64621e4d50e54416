package main

import (
	"context"
	"io"
	"maps"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/understudy-ha/understudy/config"
	"github.com/understudy-ha/understudy/lock"
)

// offering is how long a shell waits at most for what the store has.
const offering = 2 * time.Second

// offerNames has the shell offer roles and contenders, as the store has them, wherever a flag of a
// command names one.
func offerNames(commands ...*cobra.Command) {
	for _, cmd := range commands {
		offerNames(cmd.Commands()...)
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			var offer cobra.CompletionFunc
			switch {
			case f.Name == "role":
				offer = offered(func(*options) []string { return nil }, func(st lock.Standing) []string { return []string{st.Role} })
			case f.Name == "to":
				offer = offered((*options).asked, standbys)
			case f.Name == "id" && cmd.Flags().Lookup("raft-dir") != nil:
				offer = peerIDs
			case f.Name == "id":
				offer = offered((*options).asked, func(st lock.Standing) []string { return append(standbys(st), st.Term.Holder.ID) })
			default:
				return
			}
			_ = cmd.RegisterFlagCompletionFunc(f.Name, offer) // the flag is there
		})
	}
}

// standbys are the IDs of those who stand by in a role.
func standbys(st lock.Standing) (ids []string) {
	for _, m := range st.Line {
		if m.ID != st.Term.Holder.ID {
			ids = append(ids, m.ID)
		}
	}
	return ids
}

// offered are names that the store has in some roles; none named: in all. Where it does not answer in time,
// or cannot be asked with what was typed so far, there are none.
func offered(in func(*options) []string, names func(lock.Standing) []string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
		found := map[string]bool{}
		o := newOptions(typedOnce(cmd))
		cmd.SetContext(context.Background())
		cmd.SetErr(io.Discard) // the shell is at its prompt
		o.Timeout = offering
		_ = o.Ask(cmd, func(ctx context.Context, l lock.Locker) error {
			all, err := standings(ctx, l, in(o)...)
			for _, st := range all {
				for _, name := range names(st) {
					found[name] = strings.HasPrefix(name, typed) && name != ""
				}
			}
			return err
		})
		maps.DeleteFunc(found, func(_ string, fits bool) bool { return !fits })
		return slices.Sorted(maps.Keys(found)), cobra.ShellCompDirectiveNoFileComp
	}
}

// typedOnce are the flags that a command line has so far. Cobra parses it twice before it asks for
// words, so whatever may be given several times is there twice.
func typedOnce(cmd *cobra.Command) *pflag.FlagSet {
	set := pflag.NewFlagSet(cmd.Name(), pflag.ContinueOnError)
	config.Flags(set)
	cmd.Flags().Visit(func(f *pflag.Flag) {
		text := f.Value.String()
		if half := text[:len(text)/2]; text == half+","+half {
			text = half
		}
		_ = set.Set(f.Name, text) // a flag of this call alone says nothing of the store
	})
	return set
}

// peerIDs are the nodes that the list of a group has: one of them is this contender.
func peerIDs(cmd *cobra.Command, _ []string, typed string) (ids []string, _ cobra.ShellCompDirective) {
	o := newOptions(typedOnce(cmd))
	cmd.SetErr(io.Discard)
	_ = o.Read(cmd)
	for _, p := range o.Store.Raft.Peers {
		if strings.HasPrefix(p.ID, typed) {
			ids = append(ids, p.ID)
		}
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}

// askLab has understudy-lab complete a command of its own.
func askLab(name string) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		path, err := findLab()
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		ctx, cancel := context.WithTimeout(context.Background(), offering)
		defer cancel()
		out, err := exec.CommandContext(ctx, path, slices.Concat([]string{cobra.ShellCompRequestCmd, name}, args, []string{typed})...).Output()
		lines := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
		last := len(lines) - 1
		directive, errNumber := strconv.Atoi(strings.TrimPrefix(lines[last], ":"))
		if err != nil || errNumber != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		return lines[:last], cobra.ShellCompDirective(directive)
	}
}
