package kubernetes

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/understudy-ha/understudy/internal/clientconf"
	"github.com/understudy-ha/understudy/lock"
)

// An access is how an API server is reached, as the files say it now.
type access struct {
	server    *url.URL
	name      string // that the server's certificate must have
	namespace string
	roots     *x509.CertPool   // nil: the system's
	pair      *tls.Certificate // nil: none
	token     string
	files     clientconf.TLSFiles // that certificates are in
}

func (a access) host() string {
	return net.JoinHostPort(a.server.Hostname(), cmp.Or(a.server.Port(), "443"))
}

// as says whose these credentials are, so that a change of them can be told.
func (a access) as() string {
	if a.pair != nil {
		return a.token + string(a.pair.Certificate[0])
	}
	return a.token
}

// read reads the files.
func (c Config) read() (a access, err error) {
	if c.Kubeconfig != "" {
		if a, err = c.fromKubeconfig(); err != nil {
			return a, lock.InFields(fmt.Errorf("%s: %w", c.Kubeconfig, err), "Kubeconfig")
		}
	} else if a, err = c.fromPod(); err != nil {
		return a, err
	}
	if c.Server != "" {
		if a.server, err = address(c.Server, "Server"); err != nil {
			return a, err
		}
	}
	a.name = cmp.Or(a.name, a.server.Hostname())
	a.namespace = cmp.Or(c.Namespace, a.namespace, "default")
	return a, nil
}

// fromPod reads what Kubernetes mounts into a pod. Everybody there may read it.
func (c Config) fromPod() (a access, err error) {
	dir := c.serviceAccount()
	read := func(name string) (text string) {
		data, e := os.ReadFile(filepath.Join(dir, name))
		err = errors.Join(err, e)
		return strings.TrimSpace(string(data))
	}
	a.token, a.namespace = read("token"), read("namespace")
	a.files.CA = filepath.Join(dir, "ca.crt")
	switch {
	case errors.Is(err, fs.ErrNotExist) && c.ServiceAccount == "":
		return a, lock.InFields(fmt.Errorf("is empty, and this process is not in a pod with a service account; name a kubeconfig file (%w)", err), "Kubeconfig")
	case err != nil:
		return a, lock.InFields(err, "ServiceAccount")
	case a.token == "":
		return a, lock.InFields(fmt.Errorf("%s/token is empty", dir), "ServiceAccount")
	}
	if a.roots, err = a.files.Roots(); err != nil {
		return a, lock.InFields(err, "ServiceAccount")
	}
	if c.Server == "" {
		host, port := os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT")
		if host == "" {
			return a, lock.InFields(errors.New("is empty, and KUBERNETES_SERVICE_HOST, which Kubernetes sets in a pod, is not set; name the API server"), "Server")
		}
		a.server, err = address("https://"+net.JoinHostPort(host, cmp.Or(port, "443")), "Server")
	}
	return a, err
}

// A kubeconfig is the part of such a file that counts here.
type kubeconfig struct {
	Contexts []struct {
		Name    string
		Context struct{ Cluster, User, Namespace string }
	}
	Clusters []struct {
		Name    string
		Cluster cluster
	}
	Users []struct {
		Name string
		User user
	}
}

type cluster struct {
	Server     string
	ServerName string `yaml:"tls-server-name"`
	CA         string `yaml:"certificate-authority"`
	CAData     string `yaml:"certificate-authority-data"`
	Insecure   bool   `yaml:"insecure-skip-tls-verify"`
	Proxy      string `yaml:"proxy-url"`
}

type user struct {
	Cert         string `yaml:"client-certificate"`
	CertData     string `yaml:"client-certificate-data"`
	Key          string `yaml:"client-key"`
	KeyData      string `yaml:"client-key-data"`
	Token        string
	TokenFile    string `yaml:"tokenFile"`
	Username     string
	As           string
	Exec         any
	AuthProvider any `yaml:"auth-provider"`
}

// fromKubeconfig reads one context of a file. The context that the file calls the current one does not
// count, because anybody's kubectl changes it.
func (c Config) fromKubeconfig() (a access, err error) {
	text, err := os.ReadFile(c.Kubeconfig)
	if err != nil {
		return a, err
	}
	var k kubeconfig
	if err := yaml.Unmarshal(text, &k); err != nil {
		return a, fmt.Errorf("is not a kubeconfig: %w", err)
	}
	var names []string
	for _, one := range k.Contexts {
		names = append(names, one.Name)
	}
	if len(names) == 0 {
		return a, errors.New("has no context; is it a kubeconfig?")
	}
	if c.Context == "" && len(names) > 1 {
		return a, fmt.Errorf("has several contexts, and which is the current one may change at any time; name one: %s", strings.Join(names, ", "))
	}
	for _, one := range k.Contexts {
		if one.Name != cmp.Or(c.Context, names[0]) {
			continue
		}
		a.namespace = one.Context.Namespace
		in, as := k.cluster(one.Context.Cluster), k.user(one.Context.User)
		if in == nil || as == nil {
			return a, fmt.Errorf("context %s names cluster %q and user %q, and one of them is not there", one.Name, one.Context.Cluster, one.Context.User)
		}
		if err := errors.Join(in.check(), as.check()); err != nil {
			return a, fmt.Errorf("context %s: %w", one.Name, err)
		}
		return a, c.take(&a, in, as)
	}
	return a, fmt.Errorf("has no context %q; it has %s", c.Context, strings.Join(names, ", "))
}

func (k kubeconfig) cluster(name string) *cluster {
	for i, one := range k.Clusters {
		if one.Name == name {
			return &k.Clusters[i].Cluster
		}
	}
	return nil
}

func (k kubeconfig) user(name string) *user {
	for i, one := range k.Users {
		if one.Name == name {
			return &k.Users[i].User
		}
	}
	return nil
}

// check refuses by name what would be left out otherwise.
func (c cluster) check() error {
	switch {
	case c.Insecure:
		return errors.New("insecure-skip-tls-verify trusts any server; give certificate-authority instead")
	case c.Proxy != "":
		return errors.New("proxy-url is not supported; reach the API server without a proxy")
	}
	return nil
}

func (u user) check() error {
	for name, set := range map[string]bool{"exec": u.Exec != nil, "auth-provider": u.AuthProvider != nil} {
		if set {
			return fmt.Errorf("%s runs a program for a credential, which is not supported; use a token, a tokenFile or a client certificate, as of a service account", name)
		}
	}
	for name, set := range map[string]bool{"username": u.Username != "", "as": u.As != ""} {
		if set {
			return fmt.Errorf("%s is not supported; use a token, a tokenFile or a client certificate", name)
		}
	}
	return nil
}

// take reads what a cluster and a user name.
func (c Config) take(a *access, in *cluster, as *user) (err error) {
	beside := func(path string) string {
		if path == "" || filepath.IsAbs(path) {
			return path
		}
		return filepath.Join(filepath.Dir(c.Kubeconfig), path)
	}
	if as.Token != "" || as.KeyData != "" {
		info, err := os.Stat(c.Kubeconfig)
		if err != nil {
			return err
		}
		if err := clientconf.Private(c.Kubeconfig, info); err != nil {
			return err
		}
	}
	if a.server, err = address(in.Server, "Kubeconfig"); err != nil {
		return err
	}
	a.name, a.token = in.ServerName, as.Token
	if as.TokenFile != "" {
		text, err := os.ReadFile(beside(as.TokenFile))
		if a.token = strings.TrimSpace(string(text)); err != nil || a.token == "" {
			return errors.Join(fmt.Errorf("tokenFile %s holds no token", as.TokenFile), err)
		}
	}
	a.files = clientconf.TLSFiles{CA: beside(in.CA), Cert: beside(as.Cert), Key: beside(as.Key)}
	if in.CAData != "" {
		a.files.CA = ""
		if a.roots, err = pool(in.CAData); err != nil {
			return err
		}
	} else if a.roots, err = a.files.Roots(); err != nil {
		return err
	}
	switch {
	case as.CertData != "" || as.KeyData != "":
		a.files.Cert, a.files.Key = "", ""
		a.pair, err = pair(as.CertData, as.KeyData)
	case as.Cert != "" || as.Key != "":
		a.pair, err = a.files.Pair()
	}
	if err == nil && a.token == "" && a.pair == nil {
		err = errors.New("the user has neither a token nor a client certificate")
	}
	return err
}

func pool(data string) (*x509.CertPool, error) {
	text, err := base64.StdEncoding.DecodeString(data)
	p := x509.NewCertPool()
	if err != nil || !p.AppendCertsFromPEM(text) {
		return nil, errors.New("certificate-authority-data holds no certificate")
	}
	return p, nil
}

func pair(cert, key string) (*tls.Certificate, error) {
	c, err1 := base64.StdEncoding.DecodeString(cert)
	k, err2 := base64.StdEncoding.DecodeString(key)
	p, err3 := tls.X509KeyPair(c, k)
	if errors.Join(err1, err2, err3) != nil {
		return nil, errors.New("client-certificate-data and client-key-data are not a certificate and its key; give both")
	}
	return &p, nil
}
