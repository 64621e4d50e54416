//go:build postgres && linux

package databases

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
)

func init() {
	for _, level := range []string{"read committed", "repeatable read", "serializable"} {
		kinds = append(kinds, struct {
			name string
			make func(testing.TB) database
		}{"postgres " + level, func(t testing.TB) database { return postgres(t, level) }})
	}
}

var server struct {
	sync.Once
	address string
	err     error
	count   int
}

// postgres makes a database at a server of our own, with an isolation level.
func postgres(t testing.TB, level string) database {
	t.Helper()
	server.Do(func() { server.address, server.err = startPostgres() })
	must(t, server.err)
	server.count++
	name := fmt.Sprint("test", server.count)
	dsn := func(name string) string {
		return "postgres://tester@" + server.address + "/" + name + "?sslmode=disable"
	}
	run(t, database{"pgx", dsn("postgres")}.open(t), "CREATE DATABASE "+name)
	run(t, database{"pgx", dsn(name)}.open(t), "ALTER DATABASE "+name+" SET default_transaction_isolation = '"+level+"'")
	return database{"pgx", dsn(name)}
}

// startPostgres starts a server in a directory of its own, as an unprivileged user where
// we are root, as it insists on.
func startPostgres() (address string, err error) {
	initdb, err1 := program("initdb")
	binary, err2 := program("postgres")
	if err := errors.Join(err1, err2); err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "postgres")
	if err != nil {
		return "", err
	}
	stops = append(stops, func() { _ = os.RemoveAll(dir) })
	attributes := &syscall.SysProcAttr{Pdeathsig: syscall.SIGQUIT} // it ends with us at the latest
	if os.Getuid() == 0 {
		nobody, err := user.Lookup("nobody")
		if err != nil {
			return "", err
		}
		uid, _ := strconv.Atoi(nobody.Uid)
		gid, _ := strconv.Atoi(nobody.Gid)
		if err := os.Chown(dir, uid, gid); err != nil {
			return "", err
		}
		attributes.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	var said bytes.Buffer
	command := func(name string, args ...string) *exec.Cmd {
		c := exec.Command(name, args...)
		c.Dir, c.SysProcAttr, c.Env = dir, attributes, []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C"}
		c.Stdout, c.Stderr = &said, &said
		return c
	}
	data := filepath.Join(dir, "data")
	if err := command(initdb, "-D", data, "-U", "tester", "--auth=trust", "--no-sync").Run(); err != nil {
		return "", fmt.Errorf("initdb: %w: %s", err, said.String())
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	address = l.Addr().String()
	_, port, _ := net.SplitHostPort(address)
	_ = l.Close()
	c := command(binary, "-D", data, "-h", "127.0.0.1", "-p", port, "-c", "unix_socket_directories=", "-c", "fsync=off")
	if err := c.Start(); err != nil {
		return "", err
	}
	stops = append([]func(){func() {
		_ = c.Process.Signal(syscall.SIGINT) // a fast shutdown
		_ = c.Wait()
	}}, stops...)
	return address, await(address)
}

// await waits until the server answers.
func await(address string) error {
	db, err := sql.Open("pgx", "postgres://tester@"+address+"/postgres?sslmode=disable")
	if err != nil {
		return err
	}
	defer db.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		err := db.PingContext(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("postgres does not answer: %w", err)
		}
		time.Sleep(20 * time.Millisecond) // until the server takes connections
	}
}

// program finds a program of PostgreSQL's server, which Debian does not put into PATH.
func program(name string) (string, error) {
	if found, err := exec.LookPath(name); err == nil {
		return found, nil
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if len(found) == 0 {
		return "", fmt.Errorf("%s is not found; on Debian: apt-get install -y postgresql", name)
	}
	return found[len(found)-1], nil
}

// TestPausedInATransaction stops a writer that has checked and not committed. It holds the
// lock; idle_in_transaction_session_timeout frees its successor, and its commit fails.
func TestPausedInATransaction(t *testing.T) {
	onEach(t, func(t *testing.T, d database, db *sql.DB) {
		if d.Driver == "sqlite" {
			return // the lock is the process's own: see the package's comment
		}
		d.DSN += "&idle_in_transaction_session_timeout=1000"
		first, second := writer{d, 5}.start(t), writer{d, 6}.start(t)
		first.say("hold stale")
		first.want("holding stale")
		first.pause()
		first.say("go on")
		second.say("put second")
		second.want("committed second")
		must(t, first.cmd.Process.Signal(syscall.SIGCONT))
		first.want("failed stale")
		first.say("put stale")
		first.want("refused stale")
		if got := value(t, db); got != "second" {
			t.Fatalf("the value is %q", got)
		}
	})
}
