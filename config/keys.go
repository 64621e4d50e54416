package config

import (
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/understudy-ha/understudy/backends"
	"github.com/understudy-ha/understudy/backends/raft"
)

// A Key is one setting.
type Key struct {
	Name    string   // in a file, with a dot for each section: etcd.endpoints
	Default string   // as it is written; "": none, or Usage says it
	Usage   string   // one line
	OneOf   []string // the only values; nil: any of its type
	Secret  bool     // never given by a flag, and never shown
	Command bool     // only the understudy command uses it, not an embedder
	Store   string   // the store that it belongs to; "": none
	Member  bool     // a process that only looks and asks ignores it

	alone  string            // what its flag means without a value; "": that is a mistake
	to     func(*Config) any // where its value goes; that type is the key's
	kind   string            // what Type returns
	dashes string            // the name, as a flag has it
}

// Flag is the name of the key's flag: dots and capitals become dashes, and a final ".enabled" is
// left out. A secret has none: "".
func (k Key) Flag() string {
	if k.Secret {
		return ""
	}
	return k.dashes
}

func dashed(name string) string {
	var b strings.Builder
	for _, r := range strings.TrimSuffix(name, ".enabled") {
		switch {
		case r == '.':
			b.WriteByte('-')
		case unicode.IsUpper(r):
			b.WriteByte('-')
			b.WriteRune(unicode.ToLower(r))
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// Variable is the name of the key's environment variable: UNDERSTUDY_ETCD_ENDPOINTS.
func (k Key) Variable() string { return variable(k.dashes) }

// prefix begins every variable of ours.
const prefix = "UNDERSTUDY_"

func variable(flag string) string {
	return prefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// Type is the type of the key's value, in a word.
func (k Key) Type() string { return k.kind }

func kindOf(value any) string {
	switch value.(type) {
	case *bool:
		return "bool"
	case *int:
		return "int"
	case *time.Duration, off:
		return "duration"
	case *[]string:
		return "list"
	case *map[string]string, *[]raft.Peer:
		return "map"
	case *[]Role:
		return "roles"
	}
	return "string"
}

// Keys returns every key, in the order in which people read them.
func Keys() []Key { return slices.Clone(keys()) }

// keys are made once: each command has a flag for many of them, and all commands are made at the
// start of every process.
var keys = sync.OnceValue(func() []Key {
	all := listed()
	for _, s := range backends.Stores() {
		all = append(all, storeKeys(s)...)
	}
	return complete(all)
})

// complete adds to keys what follows from the rest of them.
func complete(all []Key) []Key {
	for i, k := range all {
		all[i].kind, all[i].dashes = kindOf(k.to(new(Config))), dashed(k.Name)
	}
	return all
}

// listed are the keys that belong to no store.
func listed() []Key {
	return []Key{
		{Name: "backend", Default: backends.Names()[0], OneOf: backends.Names(), Usage: "the store: " + strings.Join(backends.Names(), ", "), to: func(c *Config) any { return &c.Store.Backend }},
		{Name: "role", Usage: "the role: what only one process may do at a time", to: func(c *Config) any { return &c.role }},
		{Name: "roles", Usage: "several roles in one process, each with a name, a command and settings of its own", to: func(c *Config) any { return &c.Roles }},
		{Name: "id", Usage: "this contender, unlike every other in the store, whatever its roles; with raft a name in raft.peers (default HOST-ROLE)", to: func(c *Config) any { return &c.Coordinator.ID }},
		{Name: "address", Usage: "where clients reach this process; shown by status; at most 1024 bytes", to: func(c *Config) any { return &c.Coordinator.Address }},
		{Name: "priority", Default: "0", Usage: "the greatest takes over first", to: func(c *Config) any { return &c.priority }},
		{Name: "label", Usage: "KEY=VALUE to show in status; may be repeated: at most 32, each side 256 bytes", to: func(c *Config) any { return &c.Coordinator.Labels }},
		{Name: "activeStandby.enabled", Default: "true", Usage: "stand by; false: end at once if another process is active", to: func(c *Config) any { return &c.standby }},
		{Name: "ttl", Default: "10s", Usage: "how long to wait for an active that is silent: 100ms to 12h", to: func(c *Config) any { return &c.Coordinator.TTL }},
		{Name: "grace", Usage: "time for the work to stop after a loss (default ttl/5, at most 2s)", to: func(c *Config) any { return &c.Coordinator.Grace }},
		{Name: "skew", Usage: "the part of ttl for differing clocks and killing (default ttl/100 + min(50ms, ttl/10))", to: func(c *Config) any { return &c.Coordinator.Skew }},
		{Name: "stopTimeout", Default: "30s", Usage: "time for the work to stop on request", to: func(c *Config) any { return &c.Coordinator.StopTimeout }},
		{Name: "heartbeat", Usage: "time between two log lines that say who is active (default 10s)", to: func(c *Config) any { return &c.Coordinator.Heartbeat }},
		{Name: "witness", Default: "true", Usage: "start a process that ends the work and releases the role the moment this process is dead", to: func(c *Config) any { return &c.Witness }},
		{Name: "hangTimeout", Usage: "how long a process, or its health check, may hang before the witness kills it; 0: a process until its promise is over, a health check for ever (default ttl/2)", to: func(c *Config) any { return off{&c.Coordinator.HangTimeout} }},
		{Name: "watchdog", Usage: "how long work may make no progress: 100ms to ttl; then it has stalled, and loses the role (default: no limit)", to: func(c *Config) any { return &c.Coordinator.Watchdog }},
		{Name: "canary", Usage: "a directory on the disk that the work needs: while a small file there cannot be written, this process is not healthy; a write that hangs for the watchdog's time, or ttl/2 without one, is a stall", to: func(c *Config) any { return &c.Coordinator.Canary }},
		{Name: "lockFile", Usage: "a file on a local disk that this process locks while it or its command lives: a restart that gets the lock does not wait for the ttl, as in a container that was killed with its witness (Linux)", to: func(c *Config) any { return &c.Coordinator.LockFile }},
		{Name: "healthInterval", Usage: "time between two health checks (default ttl/4)", to: func(c *Config) any { return &c.Coordinator.HealthEvery }},
		{Name: "health", Command: true, Usage: "a shell command; exit code 0 says that this process may be active", to: func(c *Config) any { return &c.Run.Health }},
		{Name: "fence", Command: true, Usage: "a shell command that kills the host of a silent active by power, hypervisor or cloud; exit code 0 says that it is dead", to: func(c *Config) any { return &c.Run.Fence }},
		{Name: "onLoss", Command: true, Default: "standby", OneOf: []string{"standby", "exit"}, Usage: "after a loss: standby, or exit with code 75", to: func(c *Config) any { return &c.onLoss }},
		{Name: "warm", Command: true, Default: "off", alone: "idle", OneOf: []string{"off", "idle", "restart"}, Usage: "run the command on every host, in standby too, see docs/warm.md: idle: it stands down when it is told to; restart: then it is ended, and started anew; off: it runs while active", to: func(c *Config) any { return &c.warm }},
		{Name: "onExit", Command: true, OneOf: []string{"exit", "restart"}, Usage: "when a command ends by itself: exit with its code, or restart (default exit; with roles restart)", to: func(c *Config) any { return &c.onExit }},
		{Name: "onActive", Command: true, Usage: "a shell command to run beside the command once the role is granted, for at most 30s: for an address, DNS, an alert", to: func(c *Config) any { return &c.onActive }},
		{Name: "onStandby", Command: true, Usage: "a shell command to run when the command has ended, before the role is released, for at most 5s", to: func(c *Config) any { return &c.onStandby }},
		{Name: "endpointSlice", Command: true, Usage: "an EndpointSlice of Kubernetes in the pod's namespace that names this process's address while it is active", to: func(c *Config) any { return &c.Run.EndpointSlice }},
		{Name: "connectTimeout", Command: true, Usage: "time for the store's first answer; then exit with code 69 (default: no limit)", to: func(c *Config) any { return &c.Run.ConnectTimeout }},
		{Name: "stdin", Command: true, Default: "false", Usage: "pass standard input to the command (default /dev/null)", to: func(c *Config) any { return &c.Run.Stdin }},
		{Name: "isolate", Command: true, Default: "false", Usage: "run each command in a PID namespace: nothing of it outlives this process, no matter what is killed (Linux, as root)", to: func(c *Config) any { return &c.Run.Isolate }},
		{Name: "admin.listen", Command: true, Usage: "HOST:PORT for probes, status, metrics and gRPC health; see docs/monitoring.md (default: none)", to: func(c *Config) any { return &c.Admin.Listen }},
		{Name: "admin.agentListen", Command: true, Usage: "HOST:PORT for HAProxy's agent checks (default: none)", to: func(c *Config) any { return &c.Admin.AgentListen }},
		{Name: "admin.open", Command: true, Default: "false", Usage: "open probes and agent checks to everybody, on any address; status and metrics stay closed", to: func(c *Config) any { return &c.Admin.Open }},
		{Name: "admin.tokenFile", Command: true, Usage: "a file with the bearer token for status and metrics; off loopback this or a CA file is required", to: func(c *Config) any { return &c.Admin.TokenFile }},
		{Name: "admin.caFile", Command: true, Usage: "authorities that sign the certificates of clients for status and metrics", to: func(c *Config) any { return &c.Admin.CAFile }},
		{Name: "admin.certFile", Command: true, Usage: "the server's certificate, for TLS", to: func(c *Config) any { return &c.Admin.CertFile }},
		{Name: "admin.keyFile", Command: true, Usage: "its key", to: func(c *Config) any { return &c.Admin.KeyFile }},
		{Name: "log.format", Default: "text", OneOf: []string{"text", "json"}, Usage: "text or json", to: func(c *Config) any { return &c.logFormat }},
		{Name: "log.level", Default: "info", OneOf: []string{"debug", "info", "warn", "error"}, Usage: "debug, info, warn or error", to: func(c *Config) any { return &c.logLevel }},
	}
}

// storeKeys are the settings of a store: the tagged fields of its part of backends.Config.
func storeKeys(s backends.Store) (all []Key) {
	fields := reflect.TypeOf(s.Settings(new(backends.Config))).Elem()
	for i := range fields.NumField() {
		f := fields.Field(i)
		for _, tag := range []string{"setting", "member", "secret", "plan"} {
			if usage, ok := f.Tag.Lookup(tag); ok {
				all = append(all, Key{
					Name: s.Name + "." + lower(f.Name), Default: f.Tag.Get("default"), Usage: usage,
					Store: s.Name, Member: tag == "member" || tag == "plan", Secret: tag == "secret", Command: tag == "plan",
					to: func(c *Config) any { return reflect.ValueOf(s.Settings(&c.Store)).Elem().Field(i).Addr().Interface() },
				})
			}
		}
	}
	return all
}

// lower is a field's name as written in a key: CAFile is caFile.
func lower(field string) string {
	n := strings.IndexFunc(field, unicode.IsLower)
	switch {
	case n < 0:
		return strings.ToLower(field)
	case n > 1: // the last capital begins a word
		n--
	}
	return strings.ToLower(field[:n]) + field[n:]
}

// index is the table by name.
func index() map[string]Key {
	all := map[string]Key{}
	for _, k := range keys() {
		all[k.Name] = k
	}
	return all
}
