package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/internal/certs"
	"github.com/understudy-ha/understudy/internal/cli"
)

func newRaftCerts() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "certs",
		Short: "Make the certificates of a group for a trial, and renew them",
		Long: `Makes an authority and what it signs, in one directory: ca.pem and ca.key, and for each node of
--raft-peers and for each --operator NAME.pem and NAME.key. A node's certificate bears its ID as a
DNS name. An operator's bears understudy://operator/NAME: it may look, ask, pause and raise, and is
no node.

Where they are there already they are renewed: the keys stay, so that only the .pem files are to
be copied, and nodes read them again for every connection, without a restart. Nothing is
written where the directory holds what this authority has not signed.

Give each machine ca.pem and its own two files, and none of them ca.key: whoever has that can
be any node. A group that matters gets its certificates from the authority that you have.
` + cli.Codes{0: "they are made, or renewed", cli.NotDone: "refused, as the directory holds what this authority has not signed, or they cannot be written"}.String(),
		Example: `  understudy raft certs --dir certs --operator alice --raft-peers a=h1:7001,b=h2:7001,c=h3:7001`,
		Args:    cli.NoArgs,
	}
	o := newOptions(cmd.Flags(), []string{"raft.peers"})
	dir := cmd.Flags().String("dir", "certs", "where they are, and are made")
	operators := cmd.Flags().StringArray("operator", nil, "the name of one who looks and steers; may be repeated")
	life := days(365)
	cmd.Flags().Var(&life, "days", "how long the certificates of nodes and operators are valid")
	output := cli.Output(cmd.Flags())
	o.Collect()
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		err := o.Read(cmd)
		if err == nil && len(o.Store.Raft.Peers) == 0 && (len(*operators) == 0 || !o.Given("raft.peers")) {
			err = errors.New("raft-peers: none is given; write ID=HOST:PORT for every node, separated by commas; with --operator alone write --raft-peers \"\"")
		}
		if err != nil {
			return err
		}
		var wanted []certs.Wanted
		for _, p := range o.Store.Raft.Peers {
			wanted = append(wanted, certs.Wanted{Name: p.ID})
		}
		for _, name := range *operators {
			wanted = append(wanted, certs.Wanted{Name: name, Operator: true})
		}
		if err := errors.Join(certs.Check(wanted), nameDir(*dir)); err != nil {
			return err
		}
		made, err := certs.Make(*dir, wanted, time.Duration(life)*24*time.Hour)
		if err != nil {
			return cli.Unmade(err)
		}
		return show(cmd.OutOrStdout(), *output, reportOf(made), func(w io.Writer) { showCerts(w, made, *operators) })
	}
	return cmd
}

// A days is how long certificates are valid.
type days int

func (d *days) Type() string   { return "days" }
func (d *days) String() string { return strconv.Itoa(int(*d)) }

func (d *days) Set(text string) error {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > 3650 {
		return fmt.Errorf("%q must be a whole number from 1 to 3650", text)
	}
	*d = days(n)
	return nil
}

// nameDir refuses a directory without a name, which would be the working directory.
func nameDir(dir string) error {
	if dir == "" {
		return errors.New("dir: must not be empty; name a directory, or leave it out for certs")
	}
	return nil
}

// A certReport is a certificate in JSON.
type certReport struct {
	Name    string    `json:"name"`
	Cert    string    `json:"cert"`
	Key     string    `json:"key"`
	Until   time.Time `json:"until"`
	Renewed bool      `json:"renewed"`
}

func reportOf(made []certs.Made) (all []certReport) {
	for _, m := range made {
		all = append(all, certReport(m))
	}
	return all
}

func showCerts(w io.Writer, made []certs.Made, operators []string) {
	for i, m := range made {
		what := "node " + m.Name
		switch {
		case i == 0:
			what = "authority"
		case slices.Contains(operators, m.Name):
			what = "operator " + m.Name
		}
		renewed := ""
		if m.Renewed {
			renewed = ", renewed"
		}
		fmt.Fprintf(w, "%s: %s and %s, until %s%s\n", what, m.Cert, m.Key, m.Until.UTC().Format(time.DateOnly), renewed)
	}
}
