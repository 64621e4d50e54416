package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/internal/cli"
)

// TestSecretsAreNotShown: what is wrong is said with the value, but for a password in an address and the lines of a file
// that holds secrets.
func TestSecretsAreNotShown(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, []byte("[default]\naws_access_key_id = a\naws_secret_access_key = b\nSECRET\n"), 0o600))
	cluster := filepath.Join(t.TempDir(), "kubeconfig")
	must(t, os.WriteFile(cluster, []byte(`{clusters: [{name: c, cluster: {server: "https://u:SECRET@h"}}],
		users: [{name: u, user: {token: SECRET}}], contexts: [{name: c, context: {cluster: c, user: u}}]}`), 0o600))
	s3 := []string{"--backend=s3", "--s3-bucket=my-locks", "--s3-endpoint=http://127.0.0.1:1"}
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"S3's file":    {append(s3, "--s3-credentials-file", file), "s3-credentials-file: " + file + ": line 4 is neither [PROFILE] nor KEY = VALUE"},
		"S3's profile": {append(s3, "--s3-credentials-file", file, "--s3-profile=other"), "line 4 is neither"},
		"S3":           {[]string{"--backend=s3", "--s3-bucket=my-locks", "--s3-endpoint=https://u:SECRET@h"}, `s3-endpoint: "https://...@h" is not the URL of a server`},
		"etcd":         {[]string{"--backend=etcd", "--etcd-endpoints=http://u:SECRET@h:2379"}, `etcd-endpoints: "http://...@h:2379" is not an endpoint`},
		"Consul":       {[]string{"--backend=consul", "--consul-address=http://u:SECRET@h:8500"}, `consul-address: "http://...@h:8500" is not an agent's address`},
		"PostgreSQL":   {[]string{"--backend=postgres", "--postgres-url=u:SECRET@h:5432/db"}, `postgres-url: "...@h:5432/db" is not the URL of a PostgreSQL server`},
		"libpq":        {[]string{"--backend=postgres", "--postgres-url=host=h password=SECRET"}, `postgres-url: is not the URL of a PostgreSQL server`},
		"a URL":        {[]string{"--backend=postgres", "--postgres-url=postgres://u:SECRET@h/db"}, `postgres-url: has a password in it, where others see it; give it by --postgres-password-file`},
		"NATS":         {[]string{"--backend=nats", "--nats-url=u:SECRET@h:4222"}, `nats-url: "...@h:4222" is not the URL of NATS servers`},
		"NATS's file":  {[]string{"--backend=nats", "--nats-url=nats://h", "--nats-credentials-file", file}, "nats-credentials-file: " + file + ": holds no user's JWT with its seed"},
		"Kubernetes":   {[]string{"--backend=kubernetes", "--kubernetes-kubeconfig", cluster}, `"https://...@h" is not the URL of an API server`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, text := said(t, append([]string{"status", "--role=r"}, c.args...)...)
			if code != cli.Usage || !strings.Contains(text, c.want) || strings.Contains(text, "SECRET") {
				t.Errorf("code %d, want %d and %q:\n%s", code, cli.Usage, c.want, text)
			}
		})
	}
}
