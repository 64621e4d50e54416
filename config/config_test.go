package config

import (
	"io"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/understudy-ha/understudy/internal/lab"
)

// samples are values that no key has by default, as they stand in a file and as flags
// and variables have them.
var samples = map[string]struct{ file, text string }{
	"string":   {"some", "some"},
	"bool":     {"", ""}, // the opposite of the default
	"int":      {"7", "7"},
	"duration": {"3s", "3s"},
	"list":     {"[h1:1, h2:2]", "h1:1,h2:2"},
	"map":      {"{a: 127.0.0.1:1, b: 127.0.0.1:2}", "a=127.0.0.1:1,b=127.0.0.1:2"},
	"roles":    {"[{name: root, command: [a, b], priority: 3, activeStandby: {enabled: false}}]", "[{name: root, command: [a, b], priority: 3, activeStandby: {enabled: false}}]"},
}

// sample is a value for a key, for a file and for the rest, and how Values shows it.
func sample(k Key) (file, text, shown string) {
	s := samples[k.Type()]
	file, text, shown = s.file, s.text, s.text
	switch {
	case k.Type() == "bool" && k.Default == "false":
		file, text, shown = "true", "true", "true"
	case k.Type() == "bool":
		file, text, shown = "false", "false", "false"
	case k.Type() == "roles":
		shown = `[{"name":"root","command":["a","b"],"priority":3,"activeStandby":{"enabled":false},"onLoss":"standby","onExit":"restart","warm":"off"}]`
	case k.OneOf != nil:
		last := k.OneOf[len(k.OneOf)-1]
		file, text, shown = last, last, last
	case k.Secret:
		shown = "(redacted)"
	}
	return file, text, shown
}

// write makes a file of settings.
var write = lab.Settings

// parse is a flag set with every key's flag, from a command line.
func parse(t *testing.T, args ...string) *pflag.FlagSet {
	t.Helper()
	set := pflag.NewFlagSet("test", pflag.ContinueOnError)
	var names []string
	for _, k := range Keys() {
		names = append(names, k.Name)
	}
	Flags(set, names...)
	if err := set.Parse(args); err != nil {
		t.Fatal(err)
	}
	return set
}

// TestEveryKey gives every key by file, both nested and in one line, by variable and by
// flag, and expects the value to be taken and its origin to be told. A secret has no flag.
func TestEveryKey(t *testing.T) {
	for _, k := range Keys() {
		file, text, shown := sample(k)
		section, name, nested := strings.Cut(k.Name, ".")
		sources := map[string]func() (Source, string){
			"a file, in one line": func() (Source, string) {
				path := write(t, "# settings\n"+k.Name+": "+file+"\n")
				return Source{Flags: parse(t, "--config", path), Environ: []string{}}, path + ":2"
			},
			"a variable": func() (Source, string) {
				return Source{Environ: []string{k.Variable() + "=" + text}}, k.Variable()
			},
		}
		if nested {
			sources["a file, in a section"] = func() (Source, string) {
				path := write(t, section+":\n  "+name+": "+file+"\n")
				return Source{Environ: []string{"UNDERSTUDY_CONFIG=" + path}}, path + ":2"
			}
		}
		if !k.Secret {
			sources["a flag"] = func() (Source, string) {
				return Source{Flags: parse(t, "--"+k.Flag()+"="+text), Environ: []string{}}, "--" + k.Flag()
			}
		}
		for how, source := range sources {
			s, origin := source()
			c, err := Read(s)
			if err != nil {
				t.Errorf("%s by %s: %v", k.Name, how, err)
			}
			for _, v := range c.Values() {
				switch {
				case v.Key.Name == k.Name && (v.Text != shown || v.Origin != origin):
					t.Errorf("%s by %s: got %s from %s, want %s from %s", k.Name, how, v.Text, v.Origin, shown, origin)
				case v.Key.Name != k.Name && v.Origin != "default":
					t.Errorf("%s by %s: %s is from %s", k.Name, how, v.Key.Name, v.Origin)
				}
			}
			if len(c.Warnings) > 0 {
				t.Errorf("%s by %s: %q", k.Name, how, c.Warnings)
			}
		}
		if k.Secret && parse(t).Lookup(k.dashes) != nil {
			t.Errorf("%s: is a secret, and there is a flag for it", k.Name)
		}
	}
}

// TestValuesReach expects every key to have a place of its own: one that is set changes
// no other.
func TestValuesReach(t *testing.T) {
	for _, k := range Keys() {
		_, text, _ := sample(k)
		c, err := Read(Source{Environ: []string{k.Variable() + "=" + text}})
		if err != nil {
			t.Fatal(err)
		}
		without, err := Read(Source{Environ: []string{}})
		if err != nil {
			t.Fatal(err)
		}
		for _, other := range Keys() {
			if same := format(other.to(c)) == format(other.to(without)); same == (other.Name == k.Name) {
				t.Errorf("%s was set, and %s is %q", k.Name, other.Name, format(other.to(c)))
			}
		}
	}
}

// TestOrder lays flag over variable over file over another tool's variable over default.
func TestOrder(t *testing.T) {
	path := write(t, "etcd:\n  endpoints: [file:1]\n")
	source := Source{
		Flags:   parse(t, "--etcd-endpoints", "flag:1"),
		Environ: []string{"ETCDCTL_ENDPOINTS=other:1", "UNDERSTUDY_CONFIG=" + path, "UNDERSTUDY_ETCD_ENDPOINTS=variable:1"},
	}
	for _, want := range []struct {
		text, origin string
		without      func()
	}{
		{"flag:1", "--etcd-endpoints", func() { source.Flags = nil }},
		{"variable:1", "UNDERSTUDY_ETCD_ENDPOINTS", func() { source.Environ = source.Environ[:2] }},
		{"file:1", path + ":2", func() { source.Environ = source.Environ[:1] }},
		{"other:1", "ETCDCTL_ENDPOINTS", func() { source.Environ = []string{} }},
		{"", "default", func() {}},
	} {
		c, err := Read(source)
		if err != nil {
			t.Error(err)
		}
		for _, v := range c.Values() {
			if v.Key.Name == "etcd.endpoints" && (v.Text != want.text || v.Origin != want.origin) {
				t.Errorf("got %q from %s, want %q from %s", v.Text, v.Origin, want.text, want.origin)
			}
		}
		want.without()
	}
}

// TestLoad is an embedder's: what it gets is whole.
func TestLoad(t *testing.T) {
	t.Setenv("UNDERSTUDY_ETCD_ENDPOINTS", "127.0.0.1:2379")
	set := pflag.NewFlagSet("test", pflag.ContinueOnError)
	Flags(set)
	if err := set.Parse([]string{"--backend", "etcd", "--role", "billing", "--id", "a", "--ttl", "2s", "--priority", "3", "--active-standby=false"}); err != nil {
		t.Fatal(err)
	}
	c, err := Load(set)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Coordinator.Validate(); err != nil {
		t.Error(err)
	}
	if r := c.Coordinator.Roles; len(r) != 1 || r[0].Role != "billing" || r[0].Priority != 3 {
		t.Errorf("roles %v", r)
	}
	if e := c.Coordinator.ExclusiveRoles; len(e) != 1 || e[0] != "billing" {
		t.Errorf("exclusive roles %q, want billing", e)
	}
	if c.Coordinator.Witness == nil || c.Coordinator.Logger == nil {
		t.Error("no witness, or no logger")
	}
	if set.Lookup("on-loss") != nil || set.Lookup("health-interval") == nil {
		t.Error("an embedder has the flags of the command, or lacks its own")
	}
	locker, err := c.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := locker.Close(); err != nil {
		t.Error(err)
	}
}

// TestLoadTellsAll is what an embedder is told: a line for each mistake.
func TestLoadTellsAll(t *testing.T) {
	t.Setenv("UNDERSTUDY_BACKEND", "memory")
	set := pflag.NewFlagSet("test", pflag.ContinueOnError)
	Flags(set)
	if err := set.Parse([]string{"--ttl", "7", "--priority", "high"}); err != nil {
		t.Fatal(err)
	}
	want := "priority: \"high\" must be a whole number\nttl: \"7\" has no unit; write 7s\nrole: none is given; write --role ROLE, set UNDERSTUDY_ROLE, or write role or roles in the file"
	if c, err := Load(set); err == nil || c != nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
}

// TestLoadWithoutWitness leaves the witness out where it is not wanted, and where it
// could do nothing.
func TestLoadWithoutWitness(t *testing.T) {
	for _, more := range []string{"UNDERSTUDY_BACKEND=memory", "UNDERSTUDY_WITNESS=false", "UNDERSTUDY_RAFT_PEERS=a=127.0.0.1:7001"} {
		c, err := Read(Source{Log: io.Discard, Environ: []string{
			"UNDERSTUDY_ROLE=r", "UNDERSTUDY_ID=a", "UNDERSTUDY_RAFT_DIR=d", "UNDERSTUDY_RAFT_PEERS=a=127.0.0.1:7001,b=127.0.0.1:7002", more,
		}})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.ForContender(); err != nil {
			t.Error(err)
		}
		if c.Coordinator.Witness != nil || c.NoWitness() == "" {
			t.Errorf("%s: there is a witness", more)
		}
	}
}

// TestOwn gives a flag of one call alone by its variable, and prefers the flag. What is wrong
// with it is told together with all else.
func TestOwn(t *testing.T) {
	for name, test := range map[string]struct {
		args []string
		env  string
		want int
		told string // "": nothing is wrong
	}{
		"default":        {nil, "", 3, ""},
		"variable":       {nil, "UNDERSTUDY_RUNS=5", 5, ""},
		"flag":           {[]string{"--runs", "7"}, "UNDERSTUDY_RUNS=x", 7, ""},
		"wrong variable": {[]string{"--ttl", "7"}, "UNDERSTUDY_RUNS=x", 0, "UNDERSTUDY_RUNS: \"x\" must be a whole number\nttl: \"7\" has no unit; write 7s"},
		"wrong flag":     {[]string{"--runs", "y"}, "UNDERSTUDY_RUNS=5", 0, "runs: \"y\" must be a whole number"},
	} {
		set := pflag.NewFlagSet("test", pflag.ContinueOnError)
		runs := set.Int("runs", 3, "")
		Own(set)
		Flags(set)
		if err := set.Parse(test.args); err != nil {
			t.Fatal(err)
		}
		_, err := Read(Source{Flags: set, Environ: []string{test.env}, Known: func(string) bool { return true }})
		if err == nil && *runs != test.want || (err == nil) != (test.told == "") || err != nil && err.Error() != test.told {
			t.Errorf("%s: %d, %v; want %d, %s", name, *runs, err, test.want, test.told)
		}
	}
}
