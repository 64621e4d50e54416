package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/understudy-ha/understudy/admin"
	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/internal/cli"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/internal/lab/servers"
)

// TestHealthcheck asks a process at its own listener: before it is there, while it works, and when it hangs.
func TestHealthcheck(t *testing.T) {
	t.Parallel()
	at, err := servers.Addresses(1)
	must(t, err)
	token := filepath.Join(t.TempDir(), "token")
	must(t, os.WriteFile(token, []byte("0123456789abcdef\n"), 0o600))
	ask := func(want int, says string, args ...string) {
		t.Helper()
		var out, errs lab.Said
		code := execute(t.Context(), append([]string{"healthcheck", "--admin-token-file", token}, args...), &out, &errs)
		if said := out.String() + errs.String(); code != want || !strings.Contains(said, says) {
			t.Errorf("healthcheck %q: code %d and %q, want %d and %q", args, code, said, want, says)
		}
	}
	_, port, _ := strings.Cut(at[0], ":")
	everywhere := "0.0.0.0:" + port
	ask(cli.NotDone, "connection refused", "--admin-listen", everywhere)
	ask(cli.Usage, "admin.listen is empty", "livez")
	ask(cli.Usage, "takes one of readyz, livez, active", "standby", "--admin-listen", everywhere)
	w := wrap(t, "echo works; exec sleep 1000", "--admin-listen", everywhere, "--admin-token-file", token)
	w.start()
	w.expect("works")
	for _, what := range checks {
		ask(0, `"ok":true`, what, "--admin-listen", everywhere)
	}
	ask(cli.NotDone, "404", "active", "--role", "another", "--admin-listen", everywhere)
	w.signal(syscall.SIGSTOP)
	ask(cli.NotDone, "deadline exceeded", "livez", "--admin-listen", everywhere, "--timeout", "200ms")
	w.signal(syscall.SIGKILL)
}

// TestHealthcheckOfAnother: whatever else answers with 200 at that address is not healthy, and is shown.
func TestHealthcheckOfAnother(t *testing.T) {
	t.Parallel()
	for _, says := range []string{"ok", `{"health":"true"}`, `{"ok":true}`, `{"ok":false,"id":"a"}`, `[{"ok":true,"id":"a"}]`, ""} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(says))
		}))
		defer server.Close()
		at := strings.TrimPrefix(server.URL, "http://")
		var out, errs lab.Said
		code := execute(t.Context(), []string{"healthcheck", "readyz", "--admin-listen", at}, &out, &errs)
		if want := fmt.Sprintf("what answers at %s is not understudy (it says %q)", at, says); code != cli.NotDone || out.String() != "" || !errs.Has(want) {
			t.Errorf("%q: code %d, %s%s", says, code, &out, &errs)
		}
	}
}

// TestHealthcheckBeforeTheStore: a run that has not opened its store yet lives, and is not ready.
func TestHealthcheckBeforeTheStore(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(admin.Handler(new(coordinator.Monitor), admin.Options{}))
	defer server.Close()
	for what, want := range map[string]int{"livez": 0, "readyz": cli.NotDone} {
		var errs lab.Said
		if code := execute(t.Context(), []string{"healthcheck", what, "--admin-listen", strings.TrimPrefix(server.URL, "http://")}, &errs, &errs); code != want {
			t.Errorf("%s: code %d, want %d: %s", what, code, want, &errs)
		}
	}
}
