package servers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// StartPooler starts PgBouncer in transaction mode before a server that StartPostgres started: as many
// clients as come share so many connections to each database. It believes every user's name.
func StartPooler(ctx context.Context, of *Member, connections int, users ...string) (*Cluster, error) {
	path, err := exec.LookPath("pgbouncer")
	if err != nil {
		path = "/usr/sbin/pgbouncer" // where Debian puts it, which is not on everybody's PATH
	}
	if !isProgram(path) {
		return nil, errors.New("no PgBouncer is found; on Debian: apt-get install -y pgbouncer, elsewhere put it into PATH")
	}
	dir, err := os.MkdirTemp("", "pgbouncer-")
	if err != nil {
		return nil, err
	}
	c := &Cluster{temp: dir, leads: func(context.Context, *Member) (bool, error) { return true, nil }}
	c.Members, err = start(ctx, dir, func(dir string) ([]*Member, error) { return pooler(path, dir, of, connections, users) })
	if err != nil {
		c.Stop()
		return nil, fmt.Errorf("start pgbouncer: %w", err)
	}
	return c, nil
}

func pooler(path, dir string, of *Member, connections int, users []string) ([]*Member, error) {
	free, err := Ports(1)
	if err != nil {
		return nil, err
	}
	m := &Member{
		name: "pgbouncer", addr: fmt.Sprintf("127.0.0.1:%d", free[0]), path: path, log: filepath.Join(dir, "log"),
		args: []string{filepath.Join(dir, "ini")},
		up: func(ctx context.Context, _ *Member) error {
			return exec.CommandContext(ctx, beside(of.path, "pg_isready"), "-q", "-h", "127.0.0.1", "-p", strconv.Itoa(free[0])).Run()
		},
	}
	list := ""
	for _, user := range users {
		list += fmt.Sprintf("%q \"\"\n", user)
	}
	ini := strings.Join([]string{
		"[databases]", "* = host=127.0.0.1 port=" + of.port(),
		"[pgbouncer]", "listen_addr = 127.0.0.1", fmt.Sprint("listen_port = ", free[0]), "unix_socket_dir =",
		"auth_type = trust", "auth_file = " + filepath.Join(dir, "users"),
		"pool_mode = transaction", fmt.Sprint("default_pool_size = ", connections),
		"server_login_retry = 1", "", // seconds after a server was not there
	}, "\n")
	err = errors.Join(os.Chmod(filepath.Dir(dir), 0o711), os.Mkdir(dir, 0o700),
		os.WriteFile(filepath.Join(dir, "users"), []byte(list), 0o600), os.WriteFile(filepath.Join(dir, "ini"), []byte(ini), 0o600))
	if err != nil {
		return nil, err
	}
	if m.as, err = unprivileged(); err != nil {
		return nil, err
	}
	return []*Member{m}, m.own(dir)
}
