package servers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// StartPostgres starts one PostgreSQL server with more arguments, and returns when it answers
// everybody who connects as postgres. Its data is in a directory of its own that Stop
// removes: it refuses to be root, so where we are it is nobody, who cannot enter ours.
func StartPostgres(ctx context.Context, args ...string) (*Cluster, error) {
	path, err := Path("postgres")
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "postgres-")
	if err != nil {
		return nil, err
	}
	c := &Cluster{temp: dir, leads: func(context.Context, *Member) (bool, error) { return true, nil }}
	c.Members, err = start(ctx, dir, func(dir string) ([]*Member, error) { return postgres(ctx, path, dir, args) })
	if err != nil {
		c.Stop()
		return nil, fmt.Errorf("start postgres: %w", err)
	}
	return c, nil
}

func postgres(ctx context.Context, path, dir string, args []string) ([]*Member, error) {
	free, err := Ports(1)
	if err != nil {
		return nil, err
	}
	m := &Member{
		name: "postgres", kill: syscall.SIGQUIT, addr: fmt.Sprintf("127.0.0.1:%d", free[0]), path: path,
		data: filepath.Join(dir, "data"), log: filepath.Join(dir, "log"),
		up: func(ctx context.Context, _ *Member) error {
			return exec.CommandContext(ctx, beside(path, "pg_isready"), "-q", "-h", "127.0.0.1", "-p", strconv.Itoa(free[0])).Run()
		},
	}
	m.args = append([]string{"-D", m.data, "-h", "127.0.0.1", "-p", strconv.Itoa(free[0]), "-c", "unix_socket_directories="}, args...)
	if err := errors.Join(os.Chmod(filepath.Dir(dir), 0o711), os.Mkdir(dir, 0o700)); err != nil {
		return nil, err
	}
	if m.as, err = unprivileged(dir); err != nil {
		return nil, err
	}
	initdb := exec.CommandContext(ctx, beside(path, "initdb"), "-D", m.data, "-U", "postgres", "--auth=trust", "--locale=C", "--no-sync")
	initdb.Dir, initdb.SysProcAttr = dir, &syscall.SysProcAttr{Credential: m.as}
	if said, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w: %s", err, said)
	}
	return []*Member{m}, nil
}

// unprivileged is the user nobody, to whom dir is given; nil: we are not root.
func unprivileged(dir string) (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		return nil, err
	}
	uid, err1 := strconv.ParseUint(nobody.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(nobody.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, errors.Join(err1, err2, os.Chown(dir, int(uid), int(gid)))
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
