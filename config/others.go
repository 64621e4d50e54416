package config

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// others takes the settings that etcdctl and consul read from the environment.
func (r *reader) others() {
	add := func(key, text, origin string) {
		r.set(key, value{parts: []string{text}, rank: byOther, origin: origin, where: origin})
	}
	for _, name := range slices.Sorted(maps.Keys(otherVariables)) {
		if text := r.variable(name); text != "" {
			add(otherVariables[name], text, name)
		}
	}
	if user := r.variable("ETCDCTL_USER"); user != "" {
		user, password, both := strings.Cut(user, ":")
		add("etcd.username", user, "ETCDCTL_USER")
		if both && r.config.values["etcd.password"].rank != byOther {
			add("etcd.password", password, "ETCDCTL_USER")
		}
	}
	if r.config.values["consul.tokenFile"].rank == byOther { // as consul itself does
		r.set("consul.token", byDefaultOf(r.keys["consul.token"]))
	}
	if secure, _ := strconv.ParseBool(r.variable("CONSUL_HTTP_SSL")); secure {
		address, origin := "127.0.0.1:8500", "CONSUL_HTTP_SSL"
		if text := r.variable("CONSUL_HTTP_ADDR"); text != "" {
			address, origin = text, "CONSUL_HTTP_ADDR, CONSUL_HTTP_SSL"
		}
		if !strings.Contains(address, "://") {
			add("consul.address", "https://"+address, origin)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(unheeded)) {
		if text := r.variable(name); text != "" && text != unheeded[name].unless {
			r.config.Warnings = append(r.config.Warnings, fmt.Sprintf("%s: is ignored: %s", name, unheeded[name].why))
		}
	}
}

// otherVariables are the keys of other tools' variables.
var otherVariables = map[string]string{
	"ETCDCTL_ENDPOINTS": "etcd.endpoints",
	"ETCDCTL_CACERT":    "etcd.caFile",
	"ETCDCTL_CERT":      "etcd.certFile",
	"ETCDCTL_KEY":       "etcd.keyFile",
	"ETCDCTL_PASSWORD":  "etcd.password",

	"CONSUL_HTTP_ADDR":       "consul.address",
	"CONSUL_HTTP_TOKEN":      "consul.token",
	"CONSUL_HTTP_TOKEN_FILE": "consul.tokenFile",
	"CONSUL_CACERT":          "consul.caFile",
	"CONSUL_CLIENT_CERT":     "consul.certFile",
	"CONSUL_CLIENT_KEY":      "consul.keyFile",
	"CONSUL_TLS_SERVER_NAME": "consul.serverName",
}

// unheeded are other tools' variables whose meaning understudy refuses or does not have.
var unheeded = map[string]struct{ unless, why string }{
	"CONSUL_HTTP_SSL_VERIFY":           {"true", "an agent whose certificate is not verified may be anybody; name its authority by --consul-ca-file"},
	"CONSUL_HTTP_AUTH":                 {"", "an agent is asked without HTTP's own authentication; use an ACL token"},
	"CONSUL_CAPATH":                    {"", "name one file by --consul-ca-file"},
	"ETCDCTL_INSECURE_SKIP_TLS_VERIFY": {"false", "a member whose certificate is not verified may be anybody; name its authority by --etcd-ca-file"},
	"ETCDCTL_DISCOVERY_SRV":            {"", "name the members by --etcd-endpoints"},
}
