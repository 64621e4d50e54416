package servers

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// StartConsul starts n Consul servers (1 or 3) with their data in dir, and returns
// when all of them answer and can make sessions. Elections are as fast as Consul
// can (raft_multiplier 1) unless o.Config says otherwise. When it fails, nothing
// runs, and the error has the end of the server's log.
func StartConsul(ctx context.Context, dir string, n int, o Options) (*Cluster, error) {
	path, err := Path("consul")
	if err != nil {
		return nil, err
	}
	members, err := start(ctx, dir, func(dir string) ([]*Member, error) { return consuls(path, dir, n, o) })
	if err != nil {
		return nil, fmt.Errorf("start consul: %w", err)
	}
	return &Cluster{Members: members, leads: consulLeads}, nil
}

// consulPorts is how many ports a server has: HTTP, HTTPS, Serf, RPC.
const consulPorts = 4

func consuls(path, dir string, n int, o Options) ([]*Member, error) {
	free, err := Ports(consulPorts * n)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	var join []string
	for i := range n {
		join = append(join, fmt.Sprintf("127.0.0.1:%d", free[consulPorts*i+2]))
	}
	more := filepath.Join(dir, "more.hcl")
	if err := os.WriteFile(more, []byte(o.Config), 0o600); err != nil {
		return nil, err
	}
	var members []*Member
	for i := range n {
		p := free[consulPorts*i:]
		name := fmt.Sprintf("n%d", i)
		m := &Member{
			name:  "consul " + name,
			addr:  fmt.Sprintf("127.0.0.1:%d", p[0]),
			probe: fmt.Sprintf("http://127.0.0.1:%d", p[0]),
			peers: fmt.Sprintf("127.0.0.1:%d", p[3]),
			token: o.Token,
			data:  filepath.Join(dir, name),
			log:   filepath.Join(dir, name+".log"),
			path:  path,
			up:    func(ctx context.Context, m *Member) error { return consulUp(ctx, m, name) },
		}
		if o.TLS != nil {
			m.addr = fmt.Sprintf("127.0.0.1:%d", p[1])
		}
		config := filepath.Join(dir, name+".json")
		text, err := json.Marshal(consulConfig(name, m.data, p, n, join, o.TLS))
		if err != nil {
			return nil, err
		}
		if err := os.WriteFile(config, text, 0o600); err != nil {
			return nil, err
		}
		m.args = append([]string{"agent", "-config-file", config, "-config-file", more}, o.Args...)
		members = append(members, m)
	}
	return members, nil
}

func consulConfig(name, data string, p []int, n int, join []string, tls *Files) map[string]any {
	ports := map[string]int{
		"http": p[0], "https": -1, "serf_lan": p[2], "server": p[3],
		"serf_wan": -1, "dns": -1, "grpc": -1, "grpc_tls": -1,
	}
	config := map[string]any{
		"node_name": name, "data_dir": data, "server": true, "bootstrap_expect": n,
		"bind_addr": "127.0.0.1", "client_addr": "127.0.0.1", "ports": ports,
		"log_level": "warn", "disable_update_check": true, "disable_host_node_id": true,
		"performance": map[string]int{"raft_multiplier": 1},
	}
	if n > 1 {
		// At the default of 30 s three servers take 32 s to find each other.
		config["retry_join"], config["retry_interval"] = join, "1s"
	}
	if tls != nil {
		ports["https"] = p[1]
		config["tls"] = map[string]any{"https": map[string]any{
			"ca_file": tls.CA, "cert_file": tls.Cert, "key_file": tls.Key, "verify_incoming": true,
		}}
	}
	return config
}

// consulUp asks for the catalog as the leader has it: sessions can be made when
// the server's node stands there.
func consulUp(ctx context.Context, m *Member, node string) error {
	body, status, err := get(ctx, m.probe+"/v1/catalog/nodes?consistent", m.token)
	if err != nil {
		return err
	}
	if status != 200 || !strings.Contains(body, fmt.Sprintf(`"Node":"%s"`, node)) {
		return fmt.Errorf("/v1/catalog/nodes: %d %s", status, strings.TrimSpace(body))
	}
	return nil
}

// consulLeads asks the member who leads: it needs no token.
func consulLeads(ctx context.Context, m *Member) (bool, error) {
	body, _, err := get(ctx, m.probe+"/v1/status/leader", "")
	return strings.TrimSpace(body) == fmt.Sprintf("%q", m.peers), err
}
