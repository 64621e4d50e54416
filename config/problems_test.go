package config

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// node is what a contender needs besides what is tested.
var node = []string{"UNDERSTUDY_ROLE=r", "UNDERSTUDY_BACKEND=memory"}

// contend is all that is wrong for a contender.
func contend(s Source) (*Config, error) {
	s.Log = io.Discard
	c, err := Read(s)
	return c, errors.Join(err, c.ForContender())
}

// problems are files and variables, and all that is wrong with them.
var problems = map[string]struct {
	file  string
	env   []string
	alone bool     // no variables are set: the file may hold everything that a contender needs
	want  []string // FILE stands for its name
}{
	"all at once": {
		file: "ttl: 15\nraft:\n  tming: 3s\n  dir: [x]\nlog: {level: loud}\nstdin: perhaps\npriority: {a: b}\nstop-timeout: 3s\naddress: 0.0.0.0:80\n",
		env:  []string{"UNDERSTUDY_GRACE=3s", "UNDERSTUDY_SKEW=x"},
		want: []string{
			`FILE:1: ttl: "15" has no unit; write 15s`,
			`FILE:3: raft.tming: there is no such key, did you mean "raft.timing"?`,
			`FILE:4: raft.dir: must be a text, and is a list`,
			`FILE:5: log.level: "loud" must be one of debug, info, warn, error`,
			`FILE:6: stdin: "perhaps" must be true or false`,
			`FILE:7: priority: must be a whole number, and is a section`,
			`FILE:8: stop-timeout: there is no such key, did you mean "stopTimeout"?`,
			`UNDERSTUDY_SKEW: "x" is not a duration; write it as 15s or 1m30s`,
			`UNDERSTUDY_GRACE: 3s must be from 10ms to 2s; leave it out for the default`,
			`FILE:9: address: "0.0.0.0:80": no other machine can reach that`,
		},
	},
	"names": {
		file: "role: \"a\\tb\"\nid: \"\\u200b\"\nbackend: memory\n", alone: true,
		want: []string{`FILE:1: role: "a\tb": has the unprintable character U+0009 at byte 1`, `FILE:2: id: "\u200b": has the unprintable character U+200B at byte 0`},
	},
	"absurd times": {
		file: "ttl: 2s\ngrace: 1ns\nstopTimeout: 1ns\nheartbeat: 1ms\nhealthInterval: 1ms\nhangTimeout: -1s\nconnectTimeout: 1ns\npriority: 99999999999999999999\n", env: node,
		want: []string{
			`FILE:2: grace: 1ns must be from 10ms to 2s; leave it out for the default`,
			`FILE:3: stopTimeout: 1ns must be at least 10ms; leave it out for the default`,
			`FILE:4: heartbeat: 1ms must be at least 100ms; leave it out for the default`,
			`FILE:5: healthInterval: 1ms must be from 100ms to 12h0m0s; leave it out for the default`,
			`FILE:6: hangTimeout: "-1s" must not be less than 0`,
			`FILE:7: connectTimeout: 1ns must be at least 100ms; leave it out to wait as long as it takes`,
			`FILE:8: priority: "99999999999999999999" is out of range; write a smaller number`,
		},
	},
	"longer than any ttl": {
		file: "hangTimeout: 13h\nhealthInterval: 13h\n", env: node,
		want: []string{`FILE:1: hangTimeout: 13h0m0s must be from 100ms to 12h0m0s`, `FILE:2: healthInterval: 13h0m0s must be from 100ms to 12h0m0s`},
	},
	"twice":        {file: "ttl: 2s\nttl: 3s\n", want: []string{`FILE:2: ttl: is given twice, in line 1 too`}},
	"twice, apart": {file: "raft.dir: a\nraft:\n  dir: b\n", want: []string{`FILE:3: raft.dir: is given twice, in line 1 too`}},
	"empty":        {file: "ttl:\netcd:\n", want: []string{`FILE:1: ttl: is empty; write a value, or leave the key out`}},
	"empty texts": {
		file: "role: ''\netcd: {prefix: ''}\nid: a\n", env: []string{"UNDERSTUDY_BACKEND=memory", "UNDERSTUDY_ID="},
		want: []string{
			`FILE:1: role: is empty; write a value, or leave the key out`, `FILE:2: etcd.prefix: is empty; write a value, or leave the key out`,
			`UNDERSTUDY_ID: is empty; write a value, or unset it`,
		},
	},
	"no section":                   {file: "etcd: h1:2379\n", env: []string{"UNDERSTUDY_ROLE=r", "UNDERSTUDY_BACKEND=etcd"}, want: []string{`FILE:1: etcd: must be a section, KEY: VALUE on each line`}},
	"a list":                       {file: "- ttl\n", alone: true, want: []string{`FILE:1: the file: must be a section`}},
	"no YAML":                      {file: "ttl: [2s\nrole: x\n", env: []string{"UNDERSTUDY_SKEW=x"}, alone: true, want: []string{`FILE: line 1: did not find expected ',' or ']'`, `UNDERSTUDY_SKEW: "x" is not a duration`}},
	"a tab":                        {file: "role: x\netcd:\n\tprefix: y\n", alone: true, want: []string{`FILE: line 3: found character that cannot start any token; line 3 is indented by a tab: write blanks`}},
	"two documents":                {file: "ttl: 2s\n---\nttl: 3s\n", alone: true, want: []string{`FILE: holds more than one document; write one`}},
	"a role that is not a text":    {file: "role: [a]\nbackend: memory\nid:\n", alone: true, want: []string{`FILE:1: role: must be a text, and is a list`, `FILE:3: id: is empty; write a value`}},
	"a backend that is not a text": {file: "role: r\nbackend: [memory]\n", alone: true, want: []string{`FILE:2: backend: must be a text, and is a list`}},
	"a list in it":                 {file: "etcd:\n  endpoints:\n  - h1:1\n  - [x]\n", want: []string{`FILE:4: etcd.endpoints: must be a list of plain values`}},
	"section":                      {file: "etdc: {endpoints: x}\n", want: []string{`FILE:1: etdc: there is no such key, did you mean "etcd"?`}},
	"label":                        {file: "label: {a: {b: c}}\n", want: []string{`FILE:1: label: a must be a plain value`}},
	"a long address":               {file: "address: " + strings.Repeat("x", 1025) + "\n", want: []string{`FILE:1: address: "` + strings.Repeat("x", 40) + `..." has 1025 bytes, the limit is 1024`}},
	"a long label":                 {file: "label: {a: " + strings.Repeat("x", 257) + "}\n", want: []string{`FILE:1: label: the value "` + strings.Repeat("x", 40) + `..." of "a" has 257 bytes, the limit is 256`}},
	"peers":                        {file: "raft:\n  peers: {a: nowhere, b: 127.0.0.1:2}\n", want: []string{`FILE:2: raft.peers: address "nowhere" of "a": missing port in address`}},
	"backend":                      {file: "backend: rafd\n", env: []string{"UNDERSTUDY_ROLE=r"}, want: []string{`FILE:1: backend: "rafd" must be one of raft, etcd, consul, postgres, kubernetes, nats, s3, memory, did you mean "raft"?`}},
	"roles": {
		file: "roles:\n- name: a\n  comand: [x]\n  priority: high\n- command: x\n- name: b\n  onExit: maybe\n  activeStandby: true\n- name: a\n- 7\n- name: \"a\\tb\"\n", env: []string{"UNDERSTUDY_BACKEND=memory"},
		want: []string{
			`FILE:3: comand: there is no such key, did you mean "command"?`, `FILE:4: priority: "high" must be a whole number`,
			`FILE:5: roles: a role has no name; write name: NAME`, `FILE:7: onExit: "maybe" must be one of exit, restart`,
			`FILE:8: activeStandby: must be a section`, `FILE:9: name: "a" is the name of the role in line 2, too; give each role one of its own`, `FILE:10: the file: must be a section`,
			`FILE:11: name: "a\tb": has the unprintable character U+0009 at byte 1`,
		},
	},
	"of the process, in a role": {
		file: "roles:\n- name: a\n  ttl: 3s\n  etcd: {prefix: x}\n  raft.dir: y\n  tll: 3s\n", env: []string{"UNDERSTUDY_BACKEND=memory"},
		want: []string{
			`FILE:3: ttl: belongs to the process, not to one of its roles; write it at the top level of the file, beside roles`,
			`FILE:4: etcd: belongs to the process, not to one of its roles`, `FILE:5: raft.dir: belongs to the process`, `FILE:6: tll: there is no such key`,
		},
	},
	"no name, and another mistake": {file: "roles:\n- name: a\n  tll: 3s\n- command: x\n  onExit: maybe\n", env: []string{"UNDERSTUDY_BACKEND=memory"}, want: []string{
		`FILE:3: tll: there is no such key`, `FILE:4: roles: a role has no name; write name: NAME`, `FILE:5: onExit: "maybe" must be one of exit, restart`,
	}},
	"role in a role": {file: "roles: [{role: a}]\n", env: []string{"UNDERSTUDY_BACKEND=memory"}, want: []string{`FILE:1: role: names the only role of a process; in a list of roles write name: NAME`}},
	"no command":     {file: "roles:\n- name: a\n  command: []\n", env: []string{"UNDERSTUDY_BACKEND=memory"}, want: []string{`FILE:3: command: must be a program and its arguments, such as [./billing, --port, "80"], or a text for a shell`}},
	"role and roles": {file: "role: x\nroles: [{name: a}]\n", env: []string{"UNDERSTUDY_BACKEND=memory"}, want: []string{`FILE:2: roles: role "x" is given by FILE:1 too; give one of them`}},
	"no list":        {file: "roles: {x: 1}\n", env: []string{"UNDERSTUDY_BACKEND=memory"}, want: []string{`FILE:1: roles: must be a list, with a role's name and command in each entry`}},
	"no roles":       {file: "roles: []\n", env: []string{"UNDERSTUDY_BACKEND=memory"}, want: []string{`FILE:1: roles: 0 roles are given; give from 1 to 256`}},
	"roles by variable": {
		env:  []string{"UNDERSTUDY_BACKEND=memory", "UNDERSTUDY_ROLES=[{name: a, x: y}]"},
		want: []string{`UNDERSTUDY_ROLES:1: x: there is no such key`},
	},
	"byte order mark": {
		env:  []string{"UNDERSTUDY_ROLE=r", "UNDERSTUDY_BACKEND=consul", "UNDERSTUDY_CONSUL_TOKEN=\ufefft"},
		want: []string{`UNDERSTUDY_CONSUL_TOKEN: begins with a byte order mark, as editors on Windows put it there; write it as UTF-8 without one`},
	},
	"secrets": {
		env:  []string{"UNDERSTUDY_ROLE=r", "UNDERSTUDY_BACKEND=etcd", "UNDERSTUDY_ETCD_ENDPOINTS=h:1", "UNDERSTUDY_ETCD_PASSWORD=p", "UNDERSTUDY_ETCD_PASSWORD_FILE=/x"},
		want: []string{`UNDERSTUDY_ETCD_PASSWORD and UNDERSTUDY_ETCD_PASSWORD_FILE: give one of them`, `etcd-username and UNDERSTUDY_ETCD_PASSWORD_FILE: give a user and a password, or neither`},
	},
}

// TestProblems expects everything that is wrong with a file to be told in one pass,
// together with what is wrong elsewhere.
func TestProblems(t *testing.T) {
	for name, test := range problems {
		t.Run(name, func(t *testing.T) {
			path := write(t, test.file)
			env := test.env
			if !test.alone && !slices.ContainsFunc(env, func(s string) bool {
				return strings.HasPrefix(s, "UNDERSTUDY_BACKEND") || strings.HasPrefix(s, "UNDERSTUDY_ROLE")
			}) {
				env = append(slices.Clone(env), node...)
			}
			_, err := contend(Source{Environ: append([]string{"UNDERSTUDY_CONFIG=" + path}, env...)})
			if err == nil {
				t.Fatal("nothing is wrong with it")
			}
			got := strings.ReplaceAll(err.Error(), path, "FILE")
			for _, want := range test.want {
				if !strings.Contains(got, want) {
					t.Errorf("want %s\ngot\n%s", want, got)
				}
			}
			if n := strings.Count(got, "\n") + 1; n != len(test.want) {
				t.Errorf("%d lines, want %d:\n%s", n, len(test.want), got)
			}
		})
	}
}

// TestAddressThatLeadsNowhere: nobody can dial it.
func TestAddressThatLeadsNowhere(t *testing.T) {
	for address, good := range map[string]bool{
		"": true, "10.0.0.1:80": true, "host:80": true, "host": true, "[::1]:80": true,
		":80": false, "0.0.0.0:80": false, "0.0.0.0": false, "[::]:80": false, "::": false,
	} {
		if err := checkAddress(address); (err == nil) != good {
			t.Errorf("%q: %v", address, err)
		}
	}
}

// TestDidYouMean: a word that shares nothing with the one given was not meant.
func TestDidYouMean(t *testing.T) {
	for _, c := range []struct{ word, known, want string }{
		{"tll", "ttl", `, did you mean "ttl"?`}, {"xy", "ab", ""}, {"x", "ab", ""}, {"ac", "ab", `, did you mean "ab"?`}, {"UP_TIME", "upTime", `, did you mean "upTime"?`},
	} {
		if got := DidYouMean(c.word, []string{c.known}); got != c.want {
			t.Errorf("%q of %q: %q, want %q", c.word, c.known, got, c.want)
		}
	}
}

// TestNoFile names a file that is not there.
func TestNoFile(t *testing.T) {
	_, err := Read(Source{Environ: []string{"UNDERSTUDY_CONFIG=/does/not/exist"}})
	if err == nil || err.Error() != `config "/does/not/exist": no such file or directory` {
		t.Errorf("got %v", err)
	}
}

// TestSecretsInAFile refuses a file with a secret that others may read, and takes one
// that they may not.
func TestSecretsInAFile(t *testing.T) {
	path := write(t, "etcd:\n  password: hunter2\n")
	if c, err := Read(Source{Environ: []string{"UNDERSTUDY_CONFIG=" + path}}); err != nil || c.Store.Etcd.Password != "hunter2" {
		t.Errorf("%v: got %q", err, c.Store.Etcd.Password)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := Read(Source{Environ: []string{"UNDERSTUDY_CONFIG=" + path}})
	if want := path + ":2: etcd.password: others may read it (mode 0644): chmod 600 " + path; err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
}

// TestSecretFile refuses a secret's own file that others may read.
func TestSecretFile(t *testing.T) {
	path := write(t, "hunter2")
	env := []string{"UNDERSTUDY_BACKEND=consul", "UNDERSTUDY_ROLE=r", "UNDERSTUDY_CONSUL_TOKEN_FILE=" + path}
	if _, err := contend(Source{Environ: env}); err != nil {
		t.Error(err)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	_, err := contend(Source{Environ: env})
	if err == nil || !strings.Contains(err.Error(), "others may read it (mode 0640): chmod 600 "+path) {
		t.Errorf("got %v", err)
	}
	for path, want := range map[string]string{t.TempDir(): "is a directory; name a file in it", write(t, "\n"): "is empty"} {
		_, err := contend(Source{Environ: []string{"UNDERSTUDY_BACKEND=consul", "UNDERSTUDY_ROLE=r", "UNDERSTUDY_CONSUL_TOKEN_FILE=" + path}})
		if err == nil || !strings.Contains(err.Error(), path+": "+want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// TestSecretAsMounted takes a secret as Kubernetes mounts it: behind two links, for nobody to
// write, and for a group of the process's to read. One of another group's is refused, with
// what cures that there.
func TestSecretAsMounted(t *testing.T) {
	dir := t.TempDir()
	at := func(names ...string) string { return filepath.Join(append([]string{dir}, names...)...) }
	for _, err := range []error{
		os.Mkdir(at("..2026_01"), 0o755),
		os.WriteFile(at("..2026_01", "token"), []byte("hunter2\n"), 0o440),
		os.Symlink("..2026_01", at("..data")),
		os.Symlink(filepath.Join("..data", "token"), at("token")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	env := []string{"UNDERSTUDY_BACKEND=consul", "UNDERSTUDY_ROLE=r", "UNDERSTUDY_CONSUL_TOKEN_FILE=" + at("token")}
	if _, err := contend(Source{Environ: env}); err != nil {
		t.Error(err)
	}
	if os.Getuid() == 0 {
		if err := os.Chown(at("token"), 0, 54321); err != nil {
			t.Fatal(err)
		}
	} else if err := os.Chmod(at("token"), 0o444); err != nil {
		t.Fatal(err)
	}
	if _, err := contend(Source{Environ: env}); err == nil || !strings.Contains(err.Error(), "a defaultMode of 0440 and an fsGroup") {
		t.Errorf("got %v", err)
	}
}

// TestSecretEnds cuts what ends a line off a secret, wherever it is given, and names the mark
// that some editors put before a text.
func TestSecretEnds(t *testing.T) {
	for _, s := range []Source{
		{Environ: []string{"UNDERSTUDY_ETCD_PASSWORD=hunter2\n"}},
		{Environ: []string{"ETCDCTL_PASSWORD=hunter2\r\n"}},
		{Environ: []string{"UNDERSTUDY_CONFIG=" + write(t, "etcd:\n  password: |\n    hunter2\n")}},
	} {
		if c, err := Read(s); err != nil || c.Store.Etcd.Password != "hunter2" {
			t.Errorf("%v: got %q, %v", s.Environ, c.Store.Etcd.Password, err)
		}
	}
	for _, mark := range []string{"\ufeff", "\xff\xfe", "\xfe\xff"} {
		_, err := contend(Source{Environ: []string{"UNDERSTUDY_BACKEND=consul", "UNDERSTUDY_ROLE=r", "UNDERSTUDY_CONSUL_TOKEN_FILE=" + write(t, mark+"hunter2")}})
		if err == nil || !strings.Contains(err.Error(), "byte order mark") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("got %v", err)
		}
	}
}

// TestSecretsAreNotShown looks for a secret in everything that is told.
func TestSecretsAreNotShown(t *testing.T) {
	c, err := contend(Source{Environ: []string{
		"UNDERSTUDY_BACKEND=consul", "UNDERSTUDY_ROLE=r", "UNDERSTUDY_CONSUL_TOKEN=hunter2 and more", "UNDERSTUDY_ETCD_PASSWORD=hunter2",
	}})
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v, want an error that does not show the token", err)
	}
	for _, v := range c.Values() {
		if strings.Contains(v.Text, "hunter2") {
			t.Errorf("%s shows its value", v.Key.Name)
		}
	}
}

// TestVariableIsNamedOnce: an error about a variable's value begins with the variable's name, as it was written.
func TestVariableIsNamedOnce(t *testing.T) {
	c, err := Read(Source{Environ: []string{"UNDERSTUDY_BACKEND=memory", "UNDERSTUDY_TTL=13h", "UNDERSTUDY_ID=a"}})
	if err == nil {
		err = c.Explain(c.Coordinator.ValidateTimes())
	}
	if err == nil || !strings.HasPrefix(err.Error(), "UNDERSTUDY_TTL: 13h0m0s must be from") {
		t.Errorf("it says %v", err)
	}
}

// TestWarnings tells of variables that are not heeded, and not of those that run gives
// to its command, or by which the tests find their servers.
func TestWarnings(t *testing.T) {
	c, err := Read(Source{
		Environ: []string{
			"UNDERSTUDY_TTTL=2s", "UNDERSTUDY_TIMEOUT=2s", "UNDERSTUDY_ROLE=r", "UNDERSTUDY_ID=a", "UNDERSTUDY_TOKEN=7",
			"UNDERSTUDY_ETCD=/bin/etcd", "UNDERSTUDY_CONSUL=/bin/consul", "CONSUL_HTTP_SSL_VERIFY=false", "ETCDCTL_INSECURE_SKIP_TLS_VERIFY=false",
		},
		Known: func(name string) bool { return name == "UNDERSTUDY_TIMEOUT" },
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"CONSUL_HTTP_SSL_VERIFY: is ignored: an agent whose certificate is not verified may be anybody; name its authority by --consul-ca-file",
		`UNDERSTUDY_TTTL: no setting has this variable; it is ignored, did you mean "UNDERSTUDY_TTL"?`,
	}
	if !slices.Equal(c.Warnings, want) {
		t.Errorf("got %q\nwant %q", c.Warnings, want)
	}
}

// TestOthers heeds what etcdctl and consul read, after our own, and says so.
func TestOthers(t *testing.T) {
	others := []string{
		"ETCDCTL_ENDPOINTS=e:1", "ETCDCTL_CACERT=eca", "ETCDCTL_CERT=ecert", "ETCDCTL_KEY=ekey", "ETCDCTL_USER=u:p",
		"CONSUL_HTTP_ADDR=c:1", "CONSUL_HTTP_TOKEN=token", "CONSUL_CACERT=cca", "CONSUL_CLIENT_CERT=ccert", "CONSUL_CLIENT_KEY=ckey",
		"CONSUL_HTTP_SSL=true", "CONSUL_TLS_SERVER_NAME=name",
	}
	for _, test := range []struct {
		env  []string
		want []string
	}{
		{others, []string{
			"etcd.endpoints: e:1 ETCDCTL_ENDPOINTS", "etcd.username: u ETCDCTL_USER", "etcd.password: (redacted) ETCDCTL_USER",
			"etcd.caFile: eca ETCDCTL_CACERT", "etcd.certFile: ecert ETCDCTL_CERT", "etcd.keyFile: ekey ETCDCTL_KEY",
			"consul.address: https://c:1 CONSUL_HTTP_ADDR, CONSUL_HTTP_SSL", "consul.token: (redacted) CONSUL_HTTP_TOKEN", "consul.caFile: cca CONSUL_CACERT",
			"consul.certFile: ccert CONSUL_CLIENT_CERT", "consul.keyFile: ckey CONSUL_CLIENT_KEY", "consul.serverName: name CONSUL_TLS_SERVER_NAME",
		}},
		{append([]string{"UNDERSTUDY_CONSUL_ADDRESS=ours:1", "UNDERSTUDY_CONSUL_TOKEN_FILE=f", "UNDERSTUDY_ETCD_PASSWORD_FILE=g"}, others...), []string{
			"consul.address: ours:1 UNDERSTUDY_CONSUL_ADDRESS", "consul.tokenFile: f UNDERSTUDY_CONSUL_TOKEN_FILE", "consul.token:  default",
			"etcd.passwordFile: g UNDERSTUDY_ETCD_PASSWORD_FILE", "etcd.password:  default", "etcd.username: u ETCDCTL_USER",
		}},
		{[]string{"CONSUL_HTTP_SSL=1"}, []string{"consul.address: https://127.0.0.1:8500 CONSUL_HTTP_SSL"}},
		{[]string{"CONSUL_HTTP_TOKEN=x", "CONSUL_HTTP_TOKEN_FILE=f", "ETCDCTL_USER=u:p", "ETCDCTL_PASSWORD=q"}, []string{
			"consul.tokenFile: f CONSUL_HTTP_TOKEN_FILE", "consul.token:  default", "etcd.password: (redacted) ETCDCTL_PASSWORD",
		}},
	} {
		c, err := Read(Source{Environ: test.env})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, v := range c.Values() {
			got = append(got, v.Key.Name+": "+v.Text+" "+v.Origin)
		}
		for _, want := range test.want {
			if !slices.Contains(got, want) {
				t.Errorf("want %s in\n%s", want, strings.Join(got, "\n"))
			}
		}
	}
}
