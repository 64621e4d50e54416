package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/admin"
	"github.com/understudy-ha/understudy/internal/cli"
)

// checks are what can be asked, the usual one first.
var checks = []string{"readyz", "livez", "active"}

func newHealthcheck() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "healthcheck [readyz|livez|active]",
		Short: "Ask the process on this machine how it is: a health check for containers",
		Long: `Asks the run on this machine, at its own --admin-listen, and nobody else: the store is not
needed. readyz, the default: is it active, or could it take over. livez: does its loop turn. active:
is it active and may act. It says what was answered, in one line.
` + cli.Codes{0: "yes", cli.NotDone: "no, or there was no answer within --timeout, or another program gave it"}.String(),
		Example: `  understudy healthcheck --admin-listen 127.0.0.1:7070
  understudy healthcheck livez --config understudy.yaml`,
		ValidArgs: checks,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 || len(args) == 1 && !slices.Contains(checks, args[0]) {
				return fmt.Errorf("healthcheck %s: takes one of %s", strings.Join(args, " "), strings.Join(checks, ", "))
			}
			return nil
		},
	}
	o := newOptions(cmd.Flags(), []string{"admin", "role"})
	o.Duration(&o.Timeout, "timeout", 2*time.Second, "how long to wait for an answer")
	o.Collect()
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := o.Read(cmd); err != nil {
			return err
		}
		if o.Admin.Listen == "" {
			return errors.New("admin.listen is empty: nothing answers; give run and healthcheck the same, such as --admin-listen 127.0.0.1:7070")
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), o.Timeout)
		defer cancel()
		said, err := askListener(ctx, o.Admin, append(args, checks[0])[0], o.Role())
		if err != nil {
			return cli.Exit(cli.NotDone, err)
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), said)
		return err
	}
	return cmd
}

// askListener asks one's own listener. Whatever certificate is there is taken: nothing that is a secret for
// others is sent, as it is sent to this machine.
func askListener(ctx context.Context, at admin.Config, what, role string) (said string, err error) {
	host, port, err := net.SplitHostPort(at.Listen)
	if err != nil {
		return "", err
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	u := url.URL{Scheme: "http", Host: net.JoinHostPort(host, port), Path: what}
	if role != "" && what == "active" {
		u.RawQuery = url.Values{"role": {role}}.Encode()
	}
	transport := &http.Transport{DisableKeepAlives: true}
	if at.CertFile != "" {
		u.Scheme = "https"
		transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: true}
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return "", err
	}
	if at.TokenFile != "" {
		token, err := os.ReadFile(at.TokenFile)
		if err != nil {
			return "", err
		}
		request.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	}
	answer, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, 64<<10))
	said = strings.TrimSpace(string(body))
	switch {
	case err != nil:
	case answer.StatusCode != http.StatusOK:
		err = fmt.Errorf("%s: %s: %s", what, answer.Status, said)
	case !ours(what, body):
		err = fmt.Errorf("%s: what answers at %s is not understudy (it says %.100q): give run and healthcheck the same --admin-listen", what, at.Listen, said)
	}
	return said, err
}

// ours reports whether a run of understudy says yes by this: any other server may have the same port, and answers
// with 200, too. A run that has not opened its store yet lives, and has no ID to say.
func ours(what string, body []byte) bool {
	var says struct {
		OK    bool
		ID    string
		Role  string
		State string
		Token uint64
	}
	strict := json.NewDecoder(bytes.NewReader(body))
	strict.DisallowUnknownFields()
	return strict.Decode(&says) == nil && says.OK && (says.ID != "" || what == "livez")
}
