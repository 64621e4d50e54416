package servers

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// StartNATS starts n NATS servers (1 or 3) with JetStream and their data in dir, and returns when
// all of them answer. When it fails, nothing runs, and the error has the end of the server's log.
// The leader is the one of the first stream.
func StartNATS(ctx context.Context, dir string, n int, o Options) (*Cluster, error) {
	path, err := Path("nats")
	if err != nil {
		return nil, err
	}
	members, err := start(ctx, dir, func(dir string) ([]*Member, error) { return natses(path, dir, n, o) })
	if err != nil {
		return nil, fmt.Errorf("start nats-server: %w", err)
	}
	return &Cluster{Members: members, leads: natsLeads}, nil
}

func natses(path, dir string, n int, o Options) ([]*Member, error) {
	free, err := Ports(3 * n)
	if err != nil {
		return nil, err
	}
	var routes []string
	for i := range n {
		routes = append(routes, fmt.Sprintf("nats://127.0.0.1:%d", free[3*i]))
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	var members []*Member
	for i := range n {
		name := fmt.Sprintf("m%d", i)
		m := &Member{
			name: name, path: path, up: natsUp,
			addr:  fmt.Sprintf("127.0.0.1:%d", free[3*i+1]),
			probe: fmt.Sprintf("http://127.0.0.1:%d", free[3*i+2]),
			data:  filepath.Join(dir, name),
			log:   filepath.Join(dir, name+".log"),
		}
		text := fmt.Sprintf("server_name: %s\nlisten: %q\nhttp: %q\njetstream { store_dir: %q }\n", name, m.addr, strings.TrimPrefix(m.probe, "http://"), m.data)
		if n > 1 {
			text += fmt.Sprintf("cluster { name: lab, listen: %q, routes: [%s] }\n", strings.TrimPrefix(routes[i], "nats://"), strings.Join(routes, ", "))
		}
		if o.TLS != nil {
			text += fmt.Sprintf("tls { ca_file: %q, cert_file: %q, key_file: %q, verify: true }\n", o.TLS.CA, o.TLS.Cert, o.TLS.Key)
		}
		file := filepath.Join(dir, name+".conf")
		if err := os.WriteFile(file, []byte(text+o.Config), 0o600); err != nil {
			return nil, err
		}
		m.args = append([]string{"-c", file}, o.Args...)
		members = append(members, m)
	}
	return members, nil
}

// ConfigFile is what a NATS server was started with. It reads it again when it gets SIGHUP.
func (m *Member) ConfigFile() string { return strings.TrimSuffix(m.log, ".log") + ".conf" }

// natsUp asks whether JetStream is there, with its streams; in a cluster that takes a majority.
func natsUp(ctx context.Context, m *Member) error {
	body, status, err := get(ctx, m.probe+"/healthz", "")
	if err == nil && status != 200 {
		err = fmt.Errorf("/healthz: %d %s", status, strings.TrimSpace(body))
	}
	return err
}

func natsLeads(ctx context.Context, m *Member) (bool, error) {
	body, _, err := get(ctx, m.probe+"/jsz?accounts=true&streams=true", "")
	if err != nil {
		return false, err
	}
	var said struct {
		Accounts []struct {
			Streams []struct {
				Cluster struct{ Leader string }
			} `json:"stream_detail"`
		} `json:"account_details"`
	}
	if err := json.Unmarshal([]byte(body), &said); err != nil {
		return false, err
	}
	for _, a := range said.Accounts {
		for _, s := range a.Streams {
			return s.Cluster.Leader == "" || s.Cluster.Leader == m.name, nil
		}
	}
	return false, nil
}
