package main

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/cli"
)

// TestAnotherServer: where something else than the store answers, every command names the address, what answers
// there and what to check, and takes it for a store that cannot be reached: it may be a proxy without its server.
func TestAnotherServer(t *testing.T) {
	t.Parallel()
	page := func(code int) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(code)
			_, _ = w.Write([]byte("<html>\n<title>a page</title>\n</html>\n"))
		})
	}
	addresses := map[string]string{}
	for name, handler := range map[string]http.Handler{"nothing found": http.NotFoundHandler(), "a page": page(200), "not allowed": page(403), "bad gateway": page(502)} {
		s := httptest.NewServer(handler)
		t.Cleanup(s.Close)
		addresses[name] = strings.TrimPrefix(s.URL, "http://")
	}
	addresses["no HTTP"] = greets(t, "SSH-2.0-another\r\n")
	silent := map[string]bool{"status": true, "history": true, "token-floor": true} // one of each kind of call is enough
	ask := func(t *testing.T, server, command string) {
		name, _, _ := strings.Cut(command, " ")
		address := addresses[server]
		for store, want := range map[string]struct{ flags, says string }{
			"raft":   {"--raft-peers=a=" + address, "peer a=" + address + ": what answers there is not a node of this version (it says "},
			"consul": {"--backend=consul --consul-address=" + address, "consul-address: what answers at http://" + address + " is not a Consul agent"},
			"etcd":   {"--backend=etcd --etcd-endpoints=" + address, "etcd " + address + ": there is no connection: what answers there "},
			// These two wait until the call's time is over, as the page never comes.
			"postgres": {"--backend=postgres --postgres-url=postgres://me@" + address + "/db?sslmode=disable", address},
			"nats":     {"--backend=nats --nats-url=nats://" + address, address},
		} {
			switch {
			case store != "raft" && strings.HasPrefix(command, "raft "), want.says == address && !silent[name]:
				continue
			case store == "consul" && server == "no HTTP":
				want.says = "consul-address: what answers at " + address + " is not a Consul agent, as it speaks no HTTP"
			}
			args := append(strings.Fields(command), strings.Fields(want.flags)...)
			if code, text := said(t, append(args, "--timeout", "2s")...); code != cli.Unavailable || !strings.Contains(text, want.says) || strings.Contains(text, ": Address: ") {
				t.Errorf("%s: %q: exit code %d, want %d and %q\n%s", server, args, code, cli.Unavailable, want.says, text)
			}
		}
	}
	for server := range addresses {
		t.Run(server, func(t *testing.T) {
			t.Parallel()
			ask(t, server, "status --role r")
		})
	}
	for name, command := range exits {
		if command.asks != "" && name != "run" {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				ask(t, "nothing found", name+" "+command.asks)
			})
		}
	}
}

// greets listens, and says a line to whoever connects.
func greets(t *testing.T, line string) string {
	return talks(t, func(conn net.Conn) {
		_, _ = conn.Write([]byte(line))
		_, _ = conn.Read(make([]byte, 1<<10))
	})
}

// talks listens, and has talk speak with each that connects.
func talks(t *testing.T, talk func(net.Conn)) (address string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() { talk(conn); _ = conn.Close() }()
		}
	}()
	return l.Addr().String()
}

// TestServerOfAnotherKind: what ends each connection, and what greets in a way of its own, is named as what it is not,
// and no words of a client's library stand alone for that.
func TestServerOfAnotherKind(t *testing.T) {
	t.Parallel()
	ends, greeting := talks(t, func(net.Conn) {}), greets(t, "INFO {\"server_id\":\"a\"}\r\n")
	nothing, keys := httptest.NewServer(http.NotFoundHandler()), filepath.Join(t.TempDir(), "keys")
	t.Cleanup(nothing.Close)
	must(t, os.WriteFile(keys, []byte("[default]\naws_access_key_id = a\naws_secret_access_key = b\n"), 0o600))
	s3 := "--backend=s3 --s3-bucket=locks --s3-credentials-file=" + keys + " --s3-endpoint="
	for want, flags := range map[string]string{
		"etcd " + ends + ": there is no connection: what answers there ends the connection without a word":            "--backend=etcd --etcd-endpoints=" + ends,
		"postgres " + ends + ": what answers there ends the connection without a word":                                "--backend=postgres --postgres-url=postgres://u@" + ends + "/db?sslmode=disable",
		"consul-address: what answers at " + ends + " ends the connection without a word":                             "--backend=consul --consul-address=" + ends,
		"nats-url: what answers there ends the connection without a word":                                             "--backend=nats --nats-url=nats://" + ends,
		"peer a=" + ends + ": what answers there ends the connection without a word":                                  "--backend=raft --raft-peers=a=" + ends,
		"s3-endpoint: what answers at http://" + greeting + " is not an S3 server, as it speaks no HTTP":              s3 + "http://" + greeting,
		"s3-endpoint: what answers at http://" + ends + " ends the connection without a word":                         s3 + "http://" + ends,
		"s3-endpoint: what answers at https://" + ends + " ends the connection without a word":                        s3 + "https://" + ends,
		"what answers at " + nothing.URL + " is not an S3 server, or is a proxy that does not reach one (it says 404": s3 + nothing.URL,
		"postgres-url: what answers there is not PostgreSQL; write the address of a server":                           "--backend=postgres --postgres-url=postgres://u@" + greeting + "/db?sslmode=disable",
		"postgres-url: the server speaks no TLS, or is not PostgreSQL":                                                "--backend=postgres --postgres-url=postgres://u@" + greeting + "/db",
	} {
		if _, text := said(t, append(strings.Fields("status --role=r --timeout=2s"), strings.Fields(flags)...)...); !strings.Contains(text, want) {
			t.Errorf("%s: want %q:\n%s", flags, want, text)
		}
	}
}

// TestServerWithoutTLS: the error says which setting asked for TLS, and what to write where none is meant; and so it
// does where the server alone speaks TLS. No waiting cures that, so nobody waits.
func TestServerWithoutTLS(t *testing.T) {
	t.Parallel()
	page := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(page.Close)
	file := filepath.Join(t.TempDir(), "credentials")
	must(t, os.WriteFile(file, []byte("[default]\naws_access_key_id = a\naws_secret_access_key = b\n"), 0o600))
	nats, postgres := greets(t, `INFO {"server_id":"a","version":"2.12.0","max_payload":1048576}`+"\r\n"), greets(t, "N") // as PostgreSQL refuses TLS
	pair, _ := certificate(t, "127.0.0.1", time.Hour)
	secure := speaksTLS(t, "nats", &tls.Config{Certificates: []tls.Certificate{pair}})
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"nats":     {[]string{"--nats-url=tls://" + nats}, "nats-url: the server speaks no TLS"},
		"nats ":    {[]string{"--nats-url=nats://" + secure}, "nats-url and nats-ca-file: the server speaks TLS; write tls://, and name its authorities"},
		"postgres": {[]string{"--postgres-url=postgres://u@" + postgres + "/db"}, "postgres-url: the server speaks no TLS"},
		"s3":       {[]string{"--s3-bucket=my-locks", "--s3-endpoint=https://" + strings.TrimPrefix(page.URL, "http://"), "--s3-credentials-file", file}, "s3-endpoint: " + strings.TrimPrefix(page.URL, "http://") + " speaks no TLS"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, text := said(t, append([]string{"status", "--role=r", "--timeout=3s", "--backend=" + strings.TrimSpace(name)}, c.args...)...)
			if code != cli.Usage || !strings.Contains(text, c.want) || strings.Contains(text, "cannot be reached") {
				t.Errorf("code %d, want %d and %q:\n%s", code, cli.Usage, c.want, text)
			}
			if fields := regexp.MustCompile(`(?m)^understudy: [A-Z]\w+: `).FindString(text); fields != "" {
				t.Errorf("%q is a name in Go:\n%s", fields, text)
			}
		})
	}
}

// TestOneCauseOnce: where nothing listens, and where nothing is said, status tells why once for each server, in words
// of its own: no method and URL that nobody asked for, and nothing of how it asks the servers beside.
func TestOneCauseOnce(t *testing.T) {
	t.Parallel()
	silent := talks(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
	resets := talks(t, func(conn net.Conn) { // each end has the port of its connection
		_, _ = conn.Read(make([]byte, 1))
		_ = conn.(*net.TCPConn).SetLinger(0)
	})
	for _, c := range []struct{ store, flags, cause string }{
		{"raft", "--raft-peers=a=127.0.0.1:1,b=127.0.0.1:2,c=127.0.0.1:3", "peer b=127.0.0.1:2: dial tcp 127.0.0.1:2: connect: connection refused"},
		{"etcd", "--etcd-endpoints=127.0.0.1:1", "etcd 127.0.0.1:1: there is no connection: dial tcp 127.0.0.1:1: connect: connection refused"},
		{"consul", "--consul-address=127.0.0.1:1", "the agent at http://127.0.0.1:1: dial tcp 127.0.0.1:1: connect: connection refused"},
		{"nats", "--nats-url=nats://127.0.0.1:1", "127.0.0.1:1: dial tcp 127.0.0.1:1: connect: connection refused"},
		{"postgres", "--postgres-url=postgres://u@127.0.0.1:1/db?sslmode=disable", "watch: postgres 127.0.0.1:1: dial tcp 127.0.0.1:1: connect: connection refused"},
		{"postgres", "--postgres-url=postgres://u@127.0.0.1:1,127.0.0.1:2/db?sslmode=disable", "postgres 127.0.0.1:2: dial tcp 127.0.0.1:2: connect: connection refused"},
		{"etcd", "--etcd-endpoints=" + resets, "etcd " + resets + ": "},
		{"consul", "--consul-address=" + resets, "what answers at " + resets + " ends"},
		{"raft", "--raft-peers=a=" + silent, "peer a=" + silent + ": "},
		{"consul", "--consul-address=" + silent, "the store gave no answer within "},
		{"nats", "--nats-url=nats://" + silent, silent + " does not answer as NATS, whose port is 4222 by default"},
		{"postgres", "--postgres-url=postgres://u@" + silent + "/db?sslmode=disable", silent + " does not answer as PostgreSQL, whose port is 5432 by default"},
	} {
		t.Run(c.store+" "+c.flags, func(t *testing.T) {
			t.Parallel()
			code, text := said(t, "status", "--role=r", "--timeout=1s", "--backend="+c.store, c.flags)
			_, text, _ = strings.Cut(text, "the store cannot be reached:") // what was said while it waited comes before
			if n := strings.Count(text, c.cause); code != cli.Unavailable || n != 1 {
				t.Errorf("exit code %d, and %d times %q:\n%s", code, n, c.cause, text)
			}
			saysNone(t, text, "Post ", "Put ", "Get ", "not applied", "no answer in time", "failed to connect", "dial error", "database=")
		})
	}
}

// TestTells: two words of one cause are one, though each is of a connection of its own.
func TestTells(t *testing.T) {
	t.Parallel()
	const cause = "etcd h:1: it ends the connection (read tcp 127.0.0.1:40012->127.0.0.1:1: read: connection reset by peer)"
	for text, want := range map[string]bool{
		"watch: " + cause: true,
		"watch: etcd h:1: it ends the connection (read tcp 127.0.0.1:40014->127.0.0.1:1: read: connection reset by peer); more": true,
		"watch: etcd h:1: it ends the connection (EOF)": true,
		"watch: etcd h:2: it ends the connection (EOF)": false,
		"watch: etcd h:1: there is no connection":       false,
	} {
		if got := tells(text, cause); got != want {
			t.Errorf("%q: %t", text, got)
		}
	}
	if !tells("read tcp [::1]:40014->[::1]:1: i/o timeout", "read tcp [::1]:40012->[::1]:1: i/o timeout") {
		t.Error("a port of ours makes two causes of one")
	}
}

func saysNone(t *testing.T, text string, words ...string) {
	t.Helper()
	for _, no := range words {
		if strings.Contains(text, no) {
			t.Errorf("it says %q:\n%s", no, text)
		}
	}
}

// TestNoStoreThere: where nothing listens, run says so and ends. Nothing can have been left in a store that was never
// reached, so it tells of no session there, and of no call to end one.
func TestNoStoreThere(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "credentials")
	must(t, os.WriteFile(file, []byte("[default]\naws_access_key_id = a\naws_secret_access_key = b\n"), 0o600))
	for name, flags := range map[string]string{
		"etcd": "--etcd-endpoints 127.0.0.1:1,127.0.0.1:2", "consul": "--consul-address 127.0.0.1:1", "nats": "--nats-url nats://127.0.0.1:1,127.0.0.1:2",
		"postgres": "--postgres-url postgres://u@127.0.0.1:1,127.0.0.1:2/db", "s3": "--s3-bucket my-locks --s3-endpoint http://127.0.0.1:1 --s3-credentials-file " + file,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			args := append(strings.Fields("run --role r --connect-timeout 1s --backend "+name), append(strings.Fields(flags), "--", "true")...)
			code, text := said(t, args...)
			if code != cli.Unavailable || !strings.Contains(text, "did not answer within --connect-timeout") || !strings.Contains(text, "connection refused") {
				t.Errorf("exit code %d:\n%s", code, text)
			}
			saysNone(t, text, "may have our session", "evict: ", "close: ")
		})
	}
}

// TestSilentStoreIsNamed: where something takes connections and never answers, the last error says who, and not only that
// the call was given up.
func TestSilentStoreIsNamed(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "credentials")
	must(t, os.WriteFile(file, []byte("[default]\naws_access_key_id = a\naws_secret_access_key = b\n"), 0o600))
	silent, err := net.Listen("tcp", "127.0.0.1:0") // the kernel takes connections for it
	must(t, err)
	at := silent.Addr().String()
	t.Cleanup(func() { silent.Close() })
	for name, flags := range map[string]string{
		"etcd": "--etcd-endpoints " + at, "consul": "--consul-address " + at, "nats": "--nats-url nats://" + at,
		"postgres": "--postgres-url postgres://u@" + at + "/db", "s3": "--s3-bucket my-locks --s3-endpoint http://" + at + " --s3-credentials-file " + file,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			args := append(strings.Fields("run --role r --ttl 2s --connect-timeout 200ms --backend "+name), append(strings.Fields(flags), "--", "true")...)
			code, text := said(t, args...)
			if code != cli.Unavailable || !strings.Contains(text, at+" did") && !strings.Contains(text, at+": it did") && !strings.Contains(text, at+" does") {
				t.Errorf("exit code %d:\n%s", code, text)
			}
			saysNone(t, text, "context canceled")
		})
	}
}

// TestNoCredentials: without credentials of S3 a command says so at once, and by which setting they are given.
func TestNoCredentials(t *testing.T) {
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY", "AWS_SECRET_KEY", "AWS_SHARED_CREDENTIALS_FILE", "AWS_PROFILE"} {
		t.Setenv(name, "")
	}
	t.Setenv("HOME", t.TempDir())
	for _, command := range []string{"status", "history", "token-floor --above 1"} {
		args := append(strings.Fields(command), "--role=r", "--backend=s3", "--s3-bucket=my-locks", "--timeout=1m")
		code, text := said(t, args...)
		if code != cli.Usage || !strings.Contains(text, "s3-credentials-file: there are no credentials: no file is named") {
			t.Errorf("%q: exit code %d, want %d\n%s", args, code, cli.Usage, text)
		}
	}
}
