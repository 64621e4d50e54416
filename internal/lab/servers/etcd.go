package servers

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// StartEtcd starts n etcd servers (1 or 3) with their data in dir, and returns when
// all of them answer. When it fails, nothing runs, and the error has the end of
// the server's log.
func StartEtcd(ctx context.Context, dir string, n int, o Options) (*Cluster, error) {
	path, err := Path("etcd")
	if err != nil {
		return nil, err
	}
	members, err := start(ctx, dir, func(dir string) ([]*Member, error) { return etcds(path, dir, n, o) })
	if err != nil {
		return nil, fmt.Errorf("start etcd: %w", err)
	}
	return &Cluster{Members: members, leads: etcdLeads}, nil
}

func etcds(path, dir string, n int, o Options) ([]*Member, error) {
	free, err := Ports(3 * n)
	if err != nil {
		return nil, err
	}
	scheme := "http"
	if o.TLS != nil {
		scheme = "https"
	}
	peer := func(i int) string { return fmt.Sprintf("http://127.0.0.1:%d", free[3*i]) }
	var cluster []string
	for i := range n {
		cluster = append(cluster, fmt.Sprintf("m%d=%s", i, peer(i)))
	}
	var members []*Member
	for i := range n {
		m := &Member{
			name: fmt.Sprintf("etcd m%d", i),
			addr: fmt.Sprintf("127.0.0.1:%d", free[3*i+1]),
			// The port for metrics knows neither TLS nor users.
			probe: fmt.Sprintf("http://127.0.0.1:%d", free[3*i+2]),
			data:  filepath.Join(dir, fmt.Sprintf("m%d", i)),
			log:   filepath.Join(dir, fmt.Sprintf("m%d.log", i)),
			path:  path,
			up:    etcdUp,
		}
		client := scheme + "://" + m.addr
		m.args = []string{
			"--name", fmt.Sprintf("m%d", i), "--data-dir", m.data, "--log-level", "warn",
			"--listen-client-urls", client, "--advertise-client-urls", client,
			"--listen-peer-urls", peer(i), "--initial-advertise-peer-urls", peer(i),
			"--listen-metrics-urls", m.probe, "--initial-cluster", strings.Join(cluster, ","),
		}
		if o.TLS != nil {
			m.args = append(m.args, "--client-cert-auth", "--trusted-ca-file", o.TLS.CA, "--cert-file", o.TLS.Cert, "--key-file", o.TLS.Key)
		}
		m.args = append(m.args, o.Args...)
		members = append(members, m)
	}
	return members, os.MkdirAll(dir, 0o700)
}

// etcdUp asks for a linearizable read, which takes a majority.
func etcdUp(ctx context.Context, m *Member) error {
	body, status, err := get(ctx, m.probe+"/health", "")
	if err == nil && status != 200 {
		err = fmt.Errorf("/health: %d %s", status, strings.TrimSpace(body))
	}
	return err
}

func etcdLeads(ctx context.Context, m *Member) (bool, error) {
	body, _, err := get(ctx, m.probe+"/metrics", "")
	return strings.Contains(body, "\netcd_server_is_leader 1\n"), err
}

// RestoreEtcd makes a cluster with another ID of a snapshot, as an operator does by etcdutl, and puts it in the place of
// the data of an etcd server that is its cluster's only one and does not run.
func (m *Member) RestoreEtcd(ctx context.Context, snapshot string) error {
	path, err := binary("UNDERSTUDY_ETCDUTL", "etcdutl")
	if err != nil {
		return err
	}
	if err := os.RemoveAll(m.data); err != nil {
		return err
	}
	args := []string{"snapshot", "restore", snapshot, "--initial-cluster-token", "anew"}
	for i, flag := range m.args {
		switch flag {
		case "--name", "--data-dir", "--initial-advertise-peer-urls", "--initial-cluster":
			args = append(args, flag, m.args[i+1])
		}
	}
	if said, err := exec.CommandContext(ctx, path, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("etcdutl: %w: %s", err, said)
	}
	return nil
}
