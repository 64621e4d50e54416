package kubernetes_test

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/backends/kubernetes"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/internal/lab/serve"
)

const server = `server: "https://h:6443"`

// one is a kubeconfig with one context.
func one(cluster, user string) string {
	return "clusters: [{name: c, cluster: {" + cluster + "}}]\nusers: [{name: u, user: {" + user + "}}]\ncontexts: [{name: x, context: {cluster: c, user: u, namespace: ops}}]\n"
}

// A folder is one of a test.
type folder struct {
	testing.TB
	dir string
}

func (f folder) file(name, text string) string {
	f.Helper()
	path := filepath.Join(f.dir, name)
	lab.Must(f, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// said are what settings are refused with; "": they are valid.
type said map[string]struct {
	config kubernetes.Config
	want   string
}

func (all said) check(t *testing.T) {
	t.Helper()
	for name, c := range all {
		err := c.config.Validate()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// TestKubeconfig: what is wrong with such a file is said with its name, and what to write.
func TestKubeconfig(t *testing.T) {
	dir := t.TempDir()
	file := folder{t, dir}.file
	_, files := serve.CA(t)
	data := func(path string) string {
		text, err := os.ReadFile(path)
		lab.Must(t, err)
		return base64.StdEncoding.EncodeToString(text)
	}
	two := one(server, "token: t") + "current-context: x\n"
	two = strings.Replace(two, "contexts: [", "contexts: [{name: y, context: {cluster: c, user: nobody}}, ", 1)
	file("token", "t\n")
	broad := file("broad", one(server, "token: t"))
	lab.Must(t, os.Chmod(broad, 0o644))
	said{
		"no file":       {kubernetes.Config{Kubeconfig: dir + "/none"}, "Kubeconfig: " + dir + "/none: open"},
		"no YAML":       {kubernetes.Config{Kubeconfig: file("n", ":\n:")}, "is not a kubeconfig"},
		"empty":         {kubernetes.Config{Kubeconfig: file("e", "")}, "has no context"},
		"contexts":      {kubernetes.Config{Kubeconfig: file("2", two)}, "which is the current one may change at any time; name one: y, x"},
		"one of them":   {kubernetes.Config{Kubeconfig: file("2", two), Context: "x"}, ""},
		"no such":       {kubernetes.Config{Kubeconfig: file("2", two), Context: "z"}, `has no context "z"; it has y, x`},
		"no user":       {kubernetes.Config{Kubeconfig: file("2", two), Context: "y"}, `names cluster "c" and user "nobody", and one of them is not there`},
		"broad":         {kubernetes.Config{Kubeconfig: broad}, "others may read it (mode 0644): chmod 600 " + broad},
		"server":        {kubernetes.Config{Kubeconfig: file("s", one("server: h", "token: t"))}, `"h" is not the URL of an API server; write it as https://`},
		"port":          {kubernetes.Config{Kubeconfig: file("port", one("server: https://h:99999", "token: t"))}, `port "99999" must be a number from 1 to 65535`},
		"plain":         {kubernetes.Config{Kubeconfig: file("p", one(`server: "http://h"`, "token: t"))}, `"http://h" is not the URL`},
		"Server":        {kubernetes.Config{Kubeconfig: file("t", one(server, "token: t")), Server: "h:1"}, `Server: "h:1" is not the URL`},
		"insecure":      {kubernetes.Config{Kubeconfig: file("i", one(server+", insecure-skip-tls-verify: true", "token: t"))}, "insecure-skip-tls-verify trusts any server"},
		"proxy":         {kubernetes.Config{Kubeconfig: file("q", one(server+`, proxy-url: "http://p"`, "token: t"))}, "proxy-url is not supported"},
		"exec":          {kubernetes.Config{Kubeconfig: file("x", one(server, "exec: {command: aws}"))}, "exec runs a program for a credential, which is not supported; use a token"},
		"auth-provider": {kubernetes.Config{Kubeconfig: file("a", one(server, "auth-provider: {name: gcp}"))}, "auth-provider runs a program"},
		"username":      {kubernetes.Config{Kubeconfig: file("u", one(server, "username: u, password: p"))}, "username is not supported"},
		"nobody":        {kubernetes.Config{Kubeconfig: file("o", one(server, ""))}, "neither a token nor a client certificate"},
		"tokenFile":     {kubernetes.Config{Kubeconfig: file("f", one(server, "tokenFile: none"))}, "tokenFile none holds no token"},
		"relative":      {kubernetes.Config{Kubeconfig: file("r", one(server, "tokenFile: token"))}, ""},
		"authority":     {kubernetes.Config{Kubeconfig: file("y", one(server+", certificate-authority-data: bm9uZQ==", "token: t"))}, "certificate-authority-data holds no certificate"},
		"certificate":   {kubernetes.Config{Kubeconfig: file("z", one(server, "client-certificate-data: bm9uZQ=="))}, "client-certificate-data and client-key-data are not a certificate and its key"},
		"in the file": {kubernetes.Config{Kubeconfig: file("d", one(server+", certificate-authority-data: "+data(files.CA),
			"client-certificate-data: "+data(files.Cert)+", client-key-data: "+data(files.Key)))}, ""},
	}.check(t)
}

// TestConfig: what is wrong is said with the field, the value and what to write.
func TestConfig(t *testing.T) {
	dir := t.TempDir()
	_, files := serve.CA(t)
	account := filepath.Join(dir, "account")
	lab.Must(t, os.Mkdir(account, 0o700))
	for name, text := range map[string]string{"token": "t\n", "namespace": "ops", "ca.crt": "none"} {
		folder{t, account}.file(name, text)
	}
	said{
		"nothing":       {kubernetes.Config{}, "Kubeconfig: is empty, and this process is not in a pod with a service account; name a kubeconfig file"},
		"Lease":         {kubernetes.Config{Lease: "Billing"}, `Lease: "Billing" must be small letters, digits, dashes and dots, at most 253, such as understudy`},
		"long Lease":    {kubernetes.Config{Lease: strings.Repeat("x", 254)}, "at most 253"},
		"Namespace":     {kubernetes.Config{Namespace: "a.b"}, `Namespace: "a.b" must be small letters, digits and dashes, at most 63`},
		"Context alone": {kubernetes.Config{Context: "x"}, "Context: is given without a kubeconfig"},
		"both":          {kubernetes.Config{Kubeconfig: "k", ServiceAccount: "s"}, "Kubeconfig"},
		"account's CA":  {kubernetes.Config{ServiceAccount: account, Server: "https://h"}, "ServiceAccount: CA file"},
		"no account":    {kubernetes.Config{ServiceAccount: dir + "/none"}, "ServiceAccount: open " + dir},
	}.check(t)
	text, err := os.ReadFile(files.CA)
	lab.Must(t, err)
	lab.Must(t, os.WriteFile(account+"/ca.crt", text, 0o600))
	c := kubernetes.Config{ServiceAccount: account}
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "KUBERNETES_SERVICE_HOST") {
		t.Error(err)
	}
	t.Setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
	t.Setenv("KUBERNETES_SERVICE_PORT", "6443")
	if hosts := c.Hosts(); len(hosts) != 1 || hosts[0] != "[fd00::1]:6443" {
		t.Error(hosts)
	}
}
