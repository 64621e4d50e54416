package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/understudy-ha/understudy/config"
	"github.com/understudy-ha/understudy/internal/cli"
	"github.com/understudy-ha/understudy/internal/lab"
)

// settings writes a file of settings.
var settings = lab.Settings

// TestConfigShow prints every setting and where it came from, and then what is wrong.
func TestConfigShow(t *testing.T) {
	path := settings(t, "role: billing\nttl: 2s\netcd:\n  endpoints: [h1:1, h2:2]\n  pasword: x\n")
	t.Setenv("UNDERSTUDY_CONFIG", path)
	t.Setenv("UNDERSTUDY_GRACE", "300ms")
	t.Setenv("UNDERSTUDY_ETCD_PASSWORD", "hunter2")
	t.Setenv("UNDERSTUDY_GRACEE", "300ms")
	t.Setenv("CONSUL_HTTP_ADDR", "c:1")
	var out, errs bytes.Buffer
	if code := execute(t.Context(), []string{"config", "show", "--origin", "--id", "a"}, &out, &errs); code != cli.Usage {
		t.Errorf("exit code %d, want %d", code, cli.Usage)
	}
	for _, want := range []string{
		"role: billing # " + path + ":1", "ttl: 2s # " + path + ":2", "etcd.endpoints: h1:1,h2:2 # " + path + ":4", "id: a # --id",
		"grace: 300ms # UNDERSTUDY_GRACE", "etcd.password: (redacted) # UNDERSTUDY_ETCD_PASSWORD", "consul.address: c:1 # CONSUL_HTTP_ADDR",
		"skew: 70ms # default", "backend: raft # default", "# etcd.username: # default",
	} {
		if !strings.Contains(squeeze(out.String()), "\n"+want+"\n") {
			t.Errorf("want %s in\n%s", want, squeeze(out.String()))
		}
	}
	if n := strings.Count(out.String(), "\n"); n != len(config.Keys()) {
		t.Errorf("%d lines, want one for each of %d keys", n, len(config.Keys()))
	}
	want := `understudy: warning: UNDERSTUDY_GRACEE: no setting has this variable; it is ignored, did you mean "UNDERSTUDY_GRACE"?
understudy: ` + path + `:5: etcd.pasword: there is no such key, did you mean "etcd.password"?
`
	if errs.String() != want {
		t.Errorf("got %s\nwant %s", errs.String(), want)
	}
}

// squeeze makes one space of several.
func squeeze(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = strings.Join(strings.Fields(line), " ")
	}
	return "\n" + strings.Join(lines, "\n")
}

// TestConfigShowIsAFile reads what config show prints as a file of settings.
func TestConfigShowIsAFile(t *testing.T) {
	for _, args := range [][]string{{"config", "show", "--role", "r", "--on-loss", "exit"}, {
		"config", "show", "--label", `"a=b,c",d=e=f`, "--raft-peers", "a=127.0.0.1:1,b=127.0.0.1:2", "--hang-timeout", "0", "--on-exit", "restart", "--etcd-endpoints", "h1:1,h2:2",
		"--roles", `[{name: a, command: ["x", "y z"], priority: 3}, {name: b, activeStandby: {enabled: false}}]`,
	}} {
		var first, second, errs bytes.Buffer
		if code := execute(t.Context(), args, &first, &errs); code != 0 {
			t.Fatalf("exit code %d: %s", code, errs.String())
		}
		if code := execute(t.Context(), []string{"config", "show", "--config", settings(t, first.String())}, &second, &errs); code != 0 {
			t.Fatalf("exit code %d: %s\n%s", code, errs.String(), first.String())
		}
		if first.String() != second.String() {
			t.Errorf("got\n%s\nwant\n%s", second.String(), first.String())
		}
	}
}

// TestConfigSchema prints what docs/ has.
func TestConfigSchema(t *testing.T) {
	want, err := os.ReadFile("../../docs/understudy.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	if code := execute(t.Context(), []string{"config", "schema"}, &out, &errs); code != 0 || out.String() != string(want) {
		t.Errorf("exit code %d, and not what docs/understudy.schema.json is\n%s", code, errs.String())
	}
}

// TestSecretFlag says how a secret is given instead.
func TestSecretFlag(t *testing.T) {
	var errs lab.Said
	code := execute(t.Context(), []string{"status", "--role", "r", "--consul-token", "x"}, &errs, &errs)
	if want := "set UNDERSTUDY_CONSUL_TOKEN, or name a file by --consul-token-file"; code != cli.Usage || !strings.Contains(errs.String(), want) {
		t.Errorf("exit code %d, want %s\ngot %s", code, want, errs.String())
	}
}

// TestEveryKeyHasACommand expects every key to be a flag of some command, and no flag of
// one call alone to have the name of a key.
func TestEveryKeyHasACommand(t *testing.T) {
	keys := map[string]bool{}
	for _, k := range config.Keys() {
		keys[k.Flag()] = true
	}
	used := map[string]bool{}
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if keys[f.Name] && config.IsOwn(f) && !c.Hidden {
				t.Errorf("%s: --%s is a setting, and is read as what is said of one call", c.Name(), f.Name)
			}
			used[f.Name] = used[f.Name] || c.Name() != "show"
		})
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(newRoot(nil))
	for name := range keys {
		if name != "" && !used[name] {
			t.Errorf("--%s is a flag of no command but config show", name)
		}
	}
}

// TestFileForEveryCommand gives a file with settings of all kinds to commands that heed
// but a few: it is one file for all.
func TestFileForEveryCommand(t *testing.T) {
	t.Parallel()
	path := settings(t, "role: r\nonLoss: exit\nttl: 2s\nbackend: memory\nlabel: {a: b}\n")
	for want, command := range map[string]string{"ttl 2s": "plan", "lives in the process that runs it": "status"} {
		var out lab.Said
		execute(t.Context(), []string{command, "--config", path}, &out, &out)
		if !strings.Contains(out.String(), want) {
			t.Errorf("%s: want %s\ngot %s", command, want, out.String())
		}
	}
	w := wrap(t, "")
	w.cmd.Args = []string{os.Args[0], "run", "--config", path, "--", "sh", "-c", `echo "$UNDERSTUDY_ROLE"`}
	w.start()
	w.expect("r")
	w.code()
}

// TestNoSecretInTheCommand looks at what a command gets of its wrapper's environment.
func TestNoSecretInTheCommand(t *testing.T) {
	t.Parallel()
	w := wrap(t, `echo "$UNDERSTUDY_ROLE $UNDERSTUDY_ETCD_PASSWORD $UNDERSTUDY_CONSUL_TOKEN $OTHER"`)
	w.cmd.Env = append(w.cmd.Env, "UNDERSTUDY_ETCD_PASSWORD=hunter2", "UNDERSTUDY_CONSUL_TOKEN=hunter2", "OTHER=kept")
	w.start()
	w.expect("r   kept")
	w.code()
}

// TestOtherTools reaches real stores by the variables of their own tools alone.
func TestOtherTools(t *testing.T) {
	for variable, store := range map[string]string{"ETCDCTL_ENDPOINTS": "etcd", "CONSUL_HTTP_ADDR": "consul"} {
		r := newTrio(t, store)
		t.Setenv(variable, r.flags[3])
		var out lab.Said
		code := execute(t.Context(), []string{"status", "--backend", r.store.Backend, "--role", "r"}, &out, &out)
		if code != cli.NotDone || !strings.Contains(out.String(), "nobody is active") {
			t.Errorf("%s: exit code %d\n%s", variable, code, out.String())
		}
	}
}
