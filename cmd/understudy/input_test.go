package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/internal/cli"
)

const peers = "--raft-peers=a=127.0.0.1:7001,b=127.0.0.1:7002,c=127.0.0.1:7003"

var badInput = map[string]struct {
	args []string
	env  string
	want []string
	more bool // than what is wanted may be told
}{
	"backend": {
		args: []string{"run", "--backend", "rfat", "--role", "r", "--", "true"},
		want: []string{`backend: "rfat" must be one of raft, etcd, consul, postgres, kubernetes, nats, s3, memory, did you mean "raft"?`},
	},
	"all at once": {
		args: []string{"run", "--role", "", "--id", "z", "--ttl", "15", "--grace", "x", "--on-loss", "panic", "--log-level", "loud", peers, "--", "no-such-command"},
		want: []string{
			`ttl: "15" has no unit; write 15s`, `grace: "x" is not a duration; write it as 15s or 1m30s`,
			`role: is empty; write a value, or leave out --role`, `id: "z" is not in the list of peers a=127.0.0.1:7001,b=127.0.0.1:7002,c=127.0.0.1:7003`, `raft-dir: must not be empty; name a data directory of this node alone`,
			`on-loss: "panic" must be one of standby, exit`, `log-level: "loud" must be one of debug, info, warn, error`,
			`command "no-such-command": executable file not found`,
		},
	},
	"a store that is not chosen": {
		args: []string{"status", "--role", "r", "--postgres-url", "postgres://h/db"},
		want: []string{"backend: is raft by default, and postgres-url is given; write --backend postgres", "raft-peers: the list is empty"},
	},
	"a store that is not chosen, beside the default one's variable": {
		args: []string{"adopt", "--identity", "5ALCDDCG6LVT5YUIMMXLXHZWAJ", "--etcd-endpoints", "h1:2379"}, env: "UNDERSTUDY_RAFT_PEERS=a=127.0.0.1:7001",
		want: []string{"backend: is raft by default, and etcd-endpoints is given; write --backend etcd"},
	},
	"no TLS beside a file for it": {
		args: []string{"status", "--role", "r", "--backend", "etcd", "--etcd-endpoints", "http://h:2379", "--etcd-ca-file", "missing"},
		want: []string{`etcd-endpoints: "http://h:2379" is without TLS, which other endpoints or the files have; write https://h:2379`, "etcd-ca-file: CA file: open missing"},
	},
	"no bucket": {
		args: []string{"status", "--role", "r", "--backend", "s3"},
		want: []string{"s3-bucket: none given; write the bucket's name, such as my-locks"},
	},
	"no URL": {
		args: []string{"status", "--role", "r", "--backend", "nats"},
		want: []string{"nats-url: none given; write it as tls://h1:4222,h2:4222"},
	},
	"flags of the command": {
		args: []string{"run", "--role", "r", "./billing", "--port", "80"},
		want: []string{`unknown flag: --port: it stands after the command "./billing"; write -- before that: understudy run [flags] -- ./billing`},
	},
	"a short flag of the command": {
		args: []string{"run", "--role", "r", "sh", "-c", "true"},
		want: []string{`unknown shorthand flag: 'c' in -c: it stands after the command "sh"; write -- before that`},
	},
	"unprintable": {
		args: []string{"run", "--role", "a\x01b", "--id", "a", "--raft-dir", "d", peers, "--", "true"},
		want: []string{`role: "a\x01b": has the unprintable character U+0001 at byte 1`},
	},
	"unprintable, by variable": {
		args: []string{"run", "--role", "r", "--raft-dir", "d", peers, "--", "true"}, env: "UNDERSTUDY_ID=a\tb",
		want: []string{`UNDERSTUDY_ID: "a\tb": has the unprintable character U+0009 at byte 1`, `UNDERSTUDY_ID: "a\tb" is not in the list`},
	},
	"unprintable, asked about": {
		args: []string{"status", "--role", "a\x01b", peers}, want: []string{`role: "a\x01b": has the unprintable character U+0001 at byte 1`},
	},
	"times": {
		args: []string{"plan", "--ttl", "1s", "--grace", "900ms", "--skew", "1ms"},
		want: []string{
			`skew: 1ms must be at least ttl/100 + 5ms = 15ms; leave it out for the default`,
			`ttl/4 + one try + skew + grace must be less than ttl, but 250ms + 125ms + 1ms + 900ms = 1.276s`,
		},
	},
	"ttl": {
		args: []string{"plan", "--ttl", "50ms"},
		want: []string{`ttl: 50ms must be from 100ms to 12h0m0s`},
	},
	"a fence command that is not there": {
		args: []string{"run", "--backend", "memory", "--role", "r", "--fence", "no-such-fence-agent --host x", "--", "true"},
		want: []string{`fence "no-such-fence-agent --host x": there is no command "no-such-fence-agent"; write its path, or a name that is in PATH`},
	},
	"a fence command that is a file which may not be run": {
		args: []string{"run", "--backend", "memory", "--role", "r", "--fence", "/etc/passwd", "--", "true"},
		want: []string{`fence "/etc/passwd": there is no command "/etc/passwd"; write its path, or a name that is in PATH`},
	},
	"an empty fence command": {
		args: []string{"run", "--backend", "memory", "--role", "r", "--fence", "  ", "--", "true"},
		want: []string{`fence: "  " is not a command; write one, or leave it out`},
	},
	"a handoff to an ID that a script left empty": {
		args: []string{"handoff", "--role", "r", "--to", "", "--selector", "", peers},
		want: []string{"to: is empty; write a value, or leave out --to", "selector: is empty; write a value, or leave out --selector"},
	},
	"a handoff to two": {
		args: []string{"handoff", "--role", "r", "--to", "a", "--to", "b", peers},
		want: []string{`to: --to is given twice, the second time with "b", and takes one value; leave out all but one`},
	},
	"a handoff to two labels of one name": {
		args: []string{"handoff", "--role", "r", "--selector", "zone=east,zone=west", peers},
		want: []string{`selector "zone=east,zone=west": asks for zone=east and for zone=west; no standby has both`},
	},
	"a label given twice": {
		args: []string{"run", "--backend", "memory", "--role", "r", "--label", "zone=east", "--label", "zone=west", "--", "true"},
		want: []string{`label: "zone=west": the label zone is east already; give it one value`},
	},
	"a member of two names": {
		args: []string{"run", "--id", "a", "--id", "b", peers}, want: []string{`id: --id is given twice, the second time with "b"`},
	},
	"a pause until a time that a script has not set": {
		args: []string{"pause", "--role", "r", "--until", "", peers},
		want: []string{"until: is empty; write a value, or leave out --until"},
	},
	"an ID and files that a script left empty": {
		args: []string{"run", "--backend", "etcd", "--etcd-endpoints", "", "--etcd-ca-file=", "--role", "r", "--id", "", "--", "true"},
		want: []string{"id: is empty; write a value, or leave out --id", "etcd-endpoints: is empty; write a value, or leave out --etcd-endpoints", "etcd-ca-file: is empty; write a value"},
	},
	"an ID whose variable is empty and not quoted": {
		args: []string{"run", "--role", "r", "--id", "--", "true"},
		want: []string{`id: --id has no value, but "--" follows it; is a variable empty? write a value, or leave out --id`},
	},
	"a role whose variable is empty and not quoted": {
		args: []string{"run", "--role", "--id", "a", "--", "true"},
		want: []string{`role: --role has no value, but "--id" follows it; is a variable empty?`},
	},
	"a target whose variable is empty and not quoted": {
		args: []string{"handoff", "--to", "--raft-peers=a=127.0.0.1:1", "--role", "r"},
		want: []string{`to: --to has no value, but "--raft-peers=a=127.0.0.1:1" follows it; is a variable empty?`},
	},
	"a file whose variable is empty and not quoted": {
		args: []string{"config", "show", "--config", "--origin"},
		want: []string{`config: --config has no value, but "--origin" follows it; is a variable empty?`},
	},
	"a role whose variable is empty at the end": {
		args: []string{"status", peers, "--role"},
		want: []string{`role: --role has no value, and nothing follows it; is a variable empty? write a value, or leave out --role`},
	},
	"status of a role that a script has not named": {
		args: []string{"status", "--role", "", peers},
		want: []string{"role: is empty; write a value, or leave out --role"},
	},
	"why, of a role that a script has not named": {
		args: []string{"why", "--role", "", peers},
		want: []string{"role: is empty; write a value, or leave out --role"},
	},
	"a file that a script has not named": {args: []string{"plan", "--config", ""}, want: []string{"config: is empty; name a file, or leave out --config"}},
	"a command without a name":           {args: []string{""}, want: []string{`unknown command "" for "understudy"; it has`}},
	"a negative priority":                {args: []string{"priority", "--role", "r", "--id", "a", "-5", peers}, want: []string{"write a negative number after two dashes: understudy priority [flags] -- -5"}},
	"two priorities":                     {args: []string{"priority", "--role", "r", "--id", "a", "1", "2", peers}, want: []string{"understudy priority takes one number; it was given 2 arguments"}},
	"certificates for no days":           {args: []string{"raft", "certs", "--days", "x", peers}, want: []string{`days: "x" must be a whole number from 1 to 3650`}},
	"settings that say nothing": {
		args: []string{"run", "--backend", "memory", "--role", "r", "--canary", "", "--lock-file", "", "--health", "", "--on-active", " ", "--", "true"}, env: "UNDERSTUDY_ON_STANDBY=",
		want: []string{
			`canary: is empty; write a value, or leave out --canary`, `lock-file: is empty; write a value, or leave out --lock-file`, `health: is empty; write a value, or leave out --health`,
			`on-active: " " is not a command`, `UNDERSTUDY_ON_STANDBY: is empty; write a value, or unset it`,
		},
	},
	"an ID whose variable is empty": {
		args: []string{"run", "--backend", "memory", "--role", "r", "--", "true"}, env: "UNDERSTUDY_ID=",
		want: []string{"UNDERSTUDY_ID: is empty; write a value, or unset it"},
	},
	"endpoints whose variable is empty": {
		args: []string{"status", "--backend", "etcd"}, env: "UNDERSTUDY_ETCD_ENDPOINTS=",
		want: []string{"UNDERSTUDY_ETCD_ENDPOINTS: is empty; write a value, or unset it"},
	},
	"a file whose variable is empty": {
		args: []string{"plan"}, env: "UNDERSTUDY_CONFIG=", want: []string{"UNDERSTUDY_CONFIG: is empty; name a file, or unset it"},
	},
	"a handoff to an empty variable": {
		args: []string{"handoff", "--role", "r", peers}, env: "UNDERSTUDY_TO=",
		want: []string{"UNDERSTUDY_TO: is empty; write a value, or unset it"},
	},
	"a handoff of a role that a script left empty": {
		args: []string{"handoff", "--role", "", peers}, want: []string{"role: is empty; write a value, or leave out --role"},
	},
	"a ttl from which no timing follows": {
		args: []string{"run", "--role", "r", "--id", "a", "--raft-dir", "d", peers, "--ttl", "1ms", "--", "true"},
		want: []string{`ttl: 1ms must be from 100ms to 12h0m0s`},
	},
	"status for everybody": {
		args: []string{"run", "--backend", "memory", "--role", "r", "--admin-listen", "0.0.0.0:1", "--admin-agent-listen", "0.0.0.0:2", "--", "true"},
		want: []string{
			"give admin-token-file, a file with a token, or admin-ca-file, one with the authorities of the clients' certificates, or listen on 127.0.0.1",
			`say by admin-open that it is open to everybody`,
		},
	},
	"a warm command of no kind": {
		args: []string{"run", "--backend", "memory", "--role", "r", "--warm=hot", "--", "true"},
		want: []string{`warm: "hot" must be one of off, idle, restart`},
	},
	"a warm command whose kind comes after a space": {
		args: []string{"run", "--backend", "memory", "--role", "r", "--warm", "restart", "--", "true"},
		want: []string{`command "restart": must come after --; write -- and then the command; if it is the value of --warm, write --warm=restart`},
	},
	"a warm command with standard input": {
		args: []string{"run", "--backend", "memory", "--role", "r", "--warm", "--stdin", "--", "true"},
		want: []string{"stdin: a warm command would read it in standby; leave out one of the two"},
	},
	"a warm command that does not stand by": {
		args: []string{"run", "--backend", "memory", "--role", "r", "--warm", "--active-standby=false", "--", "true"},
		want: []string{`warm: role "r" does not stand by; leave it out, or set activeStandby.enabled: true`},
	},
	"a watchdog longer than the ttl": {
		args: []string{"run", "--backend", "memory", "--role", "r", "--ttl", "2s", "--watchdog", "1m", "--", "true"},
		want: []string{`watchdog: 1m0s must be from 100ms to ttl = 2s; leave it out for none`},
	},
	"a watchdog that is too short": {
		args: []string{"run", "--backend", "memory", "--role", "r", "--watchdog", "5ms", "--on-active", "true"},
		want: []string{`watchdog: 5ms must be from 100ms to ttl = 10s; leave it out for none`, `command: missing; write it after --`},
	},
	"a canary and a lock file where nothing is": {
		args: []string{"run", "--backend", "memory", "--role", "r", "--canary", "/nowhere", "--lock-file", "/nowhere/lock", "--", "true"},
		want: []string{`canary: "/nowhere" is not there; create the directory, on the disk that the work needs`, `lock-file: "/nowhere": there is no such directory; create it`},
	},
	"a watchdog of nothing": {
		args: []string{"run", "--backend", "memory", "--role", "r", "--watchdog", "0s", "--", "true"},
		want: []string{`watchdog: "0s" must be more than 0`},
	},
	"peers": {
		more: true, // an address that is not a node's is not loopback either
		args: []string{"run", "--role", "r", "--id", "a", "--raft-dir", "d", "--raft-peers", "a=0.0.0.0:1,a=127.0.0.1:2,b=127.0.0.1:2,c=host", "--", "true"},
		want: []string{
			`address "0.0.0.0:1" of "a" is not an address that others can reach`, `ID "a" stands at 0.0.0.0:1 and at 127.0.0.1:2`,
			`address "127.0.0.1:2" belongs to "a" and to "b"`, `address "host" of "c": missing port in address, write HOST:PORT`,
		},
	},
	"tls": {
		args: []string{"status", "--role", "r", "--raft-peers", "a=10.0.0.1:1", "--timeout", "0s"},
		want: []string{`raft-ca-file, raft-cert-file and raft-key-file: none is given, and the address of "a", 10.0.0.1:1, is not loopback: give all of them, or a loopback address`, `timeout: "0s" must be more than 0`},
	},
	"environment": {
		args: []string{"plan"}, env: "UNDERSTUDY_TTL=7",
		want: []string{`UNDERSTUDY_TTL: "7" has no unit; write 7s`},
	},
	"no command": {
		args: []string{"run", "--role", "r", "--backend", "memory"},
		want: []string{`command: missing; write it after --`},
	},
	"values": {
		args: []string{"run", "--role", "r", "--backend", "memory", "--priority", "high", "--active-standby=maybe", "--label", "x", "--stop-timeout", "0s", "--heartbeat", "-1s", "--", "true"},
		want: []string{
			`priority: "high" must be a whole number`, `active-standby: "maybe" must be true or false`, `label: "x" is not a label; write KEY=VALUE`,
			`stop-timeout: "0s" must be more than 0`, `heartbeat: "-1s" must be more than 0`,
		},
	},
	"value in the environment": {
		args: []string{"run", "--role", "r", "--backend", "memory", "--log-format", "xml", "--", "true"}, env: "UNDERSTUDY_STDIN=2",
		want: []string{`UNDERSTUDY_STDIN: "2" must be true or false`, `log-format: "xml" must be one of text, json`},
	},
	"addresses": {
		args: []string{"run", "--role", "r", "--backend", "memory", "--address", "0.0.0.0:80", "--", "true"},
		want: []string{`address: "0.0.0.0:80": no other machine can reach that; write the one that clients dial`},
	},
	"plan, all at once": {
		args: []string{"plan", "--backend", "raft", "--raft-timing", "1ms", "--skew", "1ms", "-o", "yaml"},
		want: []string{
			`output: "yaml" must be one of table, json`, `skew: 1ms must be at least ttl/100 + 5ms = 105ms; leave it out for the default`,
			`raft-timing: 1ms must be from 20ms to 10s`,
		},
	},
	"dash": {
		args: []string{"run", "--role", "r", "--backend", "memory", "true"},
		want: []string{`command "true": must come after --; write -- and then the command`},
	},
	"memory has no outside": {
		args: []string{"handoff", "--role", "r", "--backend", "memory"},
		want: []string{`backend "memory": lives in the process that runs it, nobody else can ask it; use another`},
	},
	"evict": {args: []string{"evict", peers}, want: []string{"role or id: none is given; write --role ROLE, or set UNDERSTUDY_ROLE, or write --id ID; the store does not answer"}, more: true},
	"floor": {
		args: []string{"token-floor", "--role", "r", "--above", "9223372036854775808", peers},
		want: []string{`above: "9223372036854775808" must be the greatest token that was ever seen: a whole number from 1 to 4611686018427387904`},
	},
	"adopt":      {args: []string{"adopt", peers}, want: []string{"identity: none is given; write --identity and that of the store that was replaced, as the waiting contenders name it in their logs"}},
	"no floor":   {args: []string{"token-floor", peers}, want: []string{"above: none is given; write --above N", `role: none is given; write --role ROLE, or set UNDERSTUDY_ROLE`}},
	"flag":       {args: []string{"run", "--rolle", "r", "--", "true"}, want: []string{`unknown flag: --rolle, did you mean "--role"?`}},
	"subcommand": {args: []string{"rum"}, want: []string{`unknown command "rum" for "understudy", did you mean "run"?`}},
	"argument":   {args: []string{"handoff", "b"}, want: []string{`"b" belongs to no flag: understudy handoff takes only flags; see understudy handoff --help`}},
	"below 0":    {args: []string{"token-floor", "--role", "r", "--above", "-1", peers}, want: []string{`above: "-1" must be the greatest token that was ever seen: a whole number from 1 to`}},
	"floor of 0": {args: []string{"token-floor", "--role", "r", "--above", "0", peers}, want: []string{`above: "0" must be the greatest token`}},
	"no file":    {args: []string{"run", "--config", "no-such-file", "--ttl", "2s", "--", "true"}, want: []string{`config "no-such-file": no such file or directory`}},
	"no file, and more": {
		args: []string{"handoff", "--config", "no-such-file", "--timeout", "x"},
		want: []string{`config "no-such-file": no such file or directory`, `timeout: "x" is not a duration`},
	},
	"an endless value": {
		args: []string{"status", "--role", strings.Repeat("x", 5000), peers},
		want: []string{`...(5002 bytes)...`},
	},
	"an endless list": {
		args: []string{"status", "--raft-peers", strings.Repeat("y ", 5000)},
		want: []string{`...(10002 bytes)...`},
	},
	"slow Raft": {
		args: []string{"run", "--role", "r", "--id", "a", "--raft-dir", "d", "--ttl", "2s", "--raft-timing", "3s", peers, "--", "true"},
		want: []string{`raft-timing: 3s must be at most ttl = 2s, or every election costs the active its role; leave it out for 200ms`},
	},
	"a switch whose value comes after a space": {
		args: []string{"run", "--backend", "memory", "--role", "r", "--witness", "false", "--", "true"},
		want: []string{`command "false": must come after --; write -- and then the command; if it is the value of --witness, write --witness=false`},
	},
	"two switches": {
		args: []string{"run", "--backend", "memory", "--role", "r", "--warm", "--active-standby", "false", "--", "true"},
		want: []string{`if it is the value of --active-standby, write --active-standby=false`},
	},
	"peers without ports": {
		args: []string{"status", "--role", "r", "--raft-peers", "a=10.0.0.1,b=10.0.0.1"},
		want: []string{`address "10.0.0.1" of "a": missing port in address`, `address "10.0.0.1" of "b": missing port in address`},
	},
	"peers with blanks for commas": {
		args: []string{"status", "--role", "r", "--raft-peers", "a=127.0.0.1:1 b=127.0.0.1:2"},
		want: []string{`raft-peers: entry 1, "a=127.0.0.1:1 b=127.0.0.1:2": has blanks; write commas between the nodes: a=127.0.0.1:1,b=127.0.0.1:2`},
	},
	"our flags after the dashes": {
		args: []string{"run", peers, "--role", "r", "--", "true", "--id", "b", "--raft-dir=d", "--port", "80"}, more: true,
		want: []string{"raft-dir: must not be empty", "--id, --raft-dir: stand after --, so the command gets them; if they are for understudy, write them before --"},
	},
	"drain of nobody":      {args: []string{"drain", peers}, want: []string{"id: none is given; write --id ID, or set UNDERSTUDY_ID"}},
	"drain of an empty ID": {args: []string{"drain", "--id", "", peers}, want: []string{"id: is empty; write a value, or leave out --id"}},
	"a password without a user": {
		args: []string{"status", "--role", "r", "--backend", "etcd", "--etcd-endpoints", "h:1"}, env: "UNDERSTUDY_ETCD_PASSWORD=secret",
		want: []string{"etcd-username and UNDERSTUDY_ETCD_PASSWORD: give a user and a password, or neither"},
	},
	"a group of another store": {
		args: []string{"raft", "status", peers}, env: "UNDERSTUDY_BACKEND=etcd", more: true,
		want: []string{`UNDERSTUDY_BACKEND: "etcd" has no group of embedded Raft; give raft`},
	},
	"not executable": {
		args: []string{"run", "--role", "r", "--backend", "memory", "--", "./input_test.go"},
		want: []string{`command "./input_test.go": is not executable; make it executable: chmod +x ./input_test.go`},
	},
}

// TestBadInput expects every mistake of a command line to be told in one pass,
// with what to write instead.
func TestBadInput(t *testing.T) {
	for name, test := range badInput {
		t.Run(name, func(t *testing.T) {
			if variable, value, ok := strings.Cut(test.env, "="); ok {
				t.Setenv(variable, value)
			}
			var out, errs bytes.Buffer
			if code := execute(t.Context(), test.args, &out, &errs); code != cli.Usage {
				t.Errorf("exit code %d, want %d", code, cli.Usage)
			}
			if got := strings.Count(errs.String(), "\n"); got != len(test.want) && !test.more {
				t.Errorf("%d lines, want %d:\n%s", got, len(test.want), errs.String())
			}
			for _, want := range test.want {
				if !strings.Contains(errs.String(), want) {
					t.Errorf("want %s\ngot %s", want, errs.String())
				}
			}
			if _, err := os.Stat("d"); err == nil {
				t.Error("something was written")
			}
		})
	}
}

// TestEnvironment reads a flag from its variable, and prefers the flag.
func TestEnvironment(t *testing.T) {
	t.Setenv("UNDERSTUDY_TTL", "2s")
	for want, args := range map[string][]string{"ttl 2s": {"plan"}, "ttl 3s": {"plan", "--ttl", "3s"}} {
		var out, errs bytes.Buffer
		if code := execute(t.Context(), args, &out, &errs); code != 0 || !strings.Contains(out.String(), want) {
			t.Errorf("code %d, want %s in\n%s%s", code, want, out.String(), errs.String())
		}
	}
}

// TestHelp has an example in the help of every command.
func TestHelp(t *testing.T) {
	for _, cmd := range newRoot(nil).Commands() {
		if !cmd.Hidden && cmd.Example == "" {
			t.Errorf("%s has no example", cmd.Name())
		}
	}
}

// TestVersionFlag says what the command says.
func TestVersionFlag(t *testing.T) {
	var flag, command bytes.Buffer
	for args, out := range map[string]*bytes.Buffer{"--version": &flag, "version": &command} {
		if code := execute(t.Context(), []string{args}, out, out); code != 0 {
			t.Errorf("%s: exit code %d", args, code)
		}
	}
	if flag.String() != command.String() || !strings.HasPrefix(flag.String(), "understudy ") {
		t.Errorf("%q and %q", flag.String(), command.String())
	}
}
