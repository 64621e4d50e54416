package servers

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// StartPostgres starts one PostgreSQL server with more arguments, and returns when it answers
// everybody who connects as postgres. Its data is in a directory of its own that Stop
// removes: it refuses to be root, so where we are it is nobody, who cannot enter ours.
func StartPostgres(ctx context.Context, args ...string) (*Cluster, error) {
	return startPostgres(ctx, nil, args)
}

// StartReplica starts a standby of a server that StartPostgres started.
func StartReplica(ctx context.Context, of *Member, args ...string) (*Cluster, error) {
	return startPostgres(ctx, of, args)
}

func startPostgres(ctx context.Context, from *Member, args []string) (*Cluster, error) {
	path, err := Path("postgres")
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "postgres-")
	if err != nil {
		return nil, err
	}
	c := &Cluster{temp: dir, leads: func(context.Context, *Member) (bool, error) { return true, nil }}
	c.Members, err = start(ctx, dir, func(dir string) ([]*Member, error) { return postgres(ctx, path, dir, from, args) })
	if err != nil {
		c.Stop()
		return nil, fmt.Errorf("start postgres: %w", err)
	}
	return c, nil
}

func postgres(ctx context.Context, path, dir string, from *Member, args []string) ([]*Member, error) {
	free, err := Ports(1)
	if err != nil {
		return nil, err
	}
	m := &Member{
		name: "postgres", kill: syscall.SIGQUIT, addr: fmt.Sprintf("127.0.0.1:%d", free[0]), path: path,
		data: filepath.Join(dir, "data"), log: filepath.Join(dir, "log"), family: true,
		up: func(ctx context.Context, _ *Member) error {
			return exec.CommandContext(ctx, beside(path, "pg_isready"), "-q", "-h", "127.0.0.1", "-p", strconv.Itoa(free[0])).Run()
		},
	}
	m.args = append([]string{"-D", m.data, "-h", "127.0.0.1", "-p", strconv.Itoa(free[0]), "-c", "unix_socket_directories="}, args...)
	if err := errors.Join(os.Chmod(filepath.Dir(dir), 0o711), os.Mkdir(dir, 0o700)); err != nil {
		return nil, err
	}
	if m.as, err = unprivileged(); err != nil {
		return nil, err
	}
	if err := m.own(dir); err != nil {
		return nil, err
	}
	if from != nil { // with standby.signal, and where the primary is
		return []*Member{m}, m.tool(ctx, "pg_basebackup", "-d", "host=127.0.0.1 user=postgres port="+from.port(), "-R", "-c", "fast", "--no-sync")
	}
	return []*Member{m}, m.tool(ctx, "initdb", "-U", "postgres", "--auth=trust", "--locale=C", "--no-sync")
}

func (m *Member) port() string { _, port, _ := strings.Cut(m.addr, ":"); return port }

// tool runs another program of PostgreSQL on the data directory.
func (m *Member) tool(ctx context.Context, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, beside(m.path, name), append(args, "-D", m.data)...)
	cmd.Dir, cmd.SysProcAttr = filepath.Dir(m.data), &syscall.SysProcAttr{Credential: m.as}
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, said)
	}
	return nil
}

// Promote makes a standby of PostgreSQL a primary.
func (m *Member) Promote(ctx context.Context) error { return m.tool(ctx, "pg_ctl", "promote", "-w") }

// Put writes a file into the data directory, as the server's user.
func (m *Member) Put(name, text string) error {
	path := filepath.Join(m.data, name)
	return errors.Join(os.WriteFile(path, []byte(text), 0o600), m.own(path))
}

// unprivileged is the user nobody; nil: we are not root.
func unprivileged() (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		return nil, err
	}
	uid, err1 := strconv.ParseUint(nobody.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(nobody.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, errors.Join(err1, err2)
}

// own gives what we wrote to the user that the server runs as.
func (m *Member) own(root string) error {
	if m.as == nil {
		return nil
	}
	return filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(path, int(m.as.Uid), int(m.as.Gid)))
	})
}

// postgresPath finds the server, which Debian does not put into PATH.
func postgresPath() (string, error) {
	path := os.Getenv("UNDERSTUDY_POSTGRES")
	if found, err := exec.LookPath("postgres"); path == "" && err == nil {
		path = found
	}
	if found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres"); path == "" && len(found) > 0 {
		path = found[len(found)-1]
	}
	if !isProgram(path) {
		return "", errors.New("no PostgreSQL server is found; on Debian: apt-get install -y postgresql, elsewhere set UNDERSTUDY_POSTGRES to the program postgres")
	}
	return filepath.EvalSymlinks(path) // its other programs stand beside it
}

// beside is another program of a server's directory.
func beside(path, name string) string { return filepath.Join(filepath.Dir(path), name) }
