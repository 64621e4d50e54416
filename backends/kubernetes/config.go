package kubernetes

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"regexp"
	"strings"

	"github.com/understudy-ha/understudy/internal/clientconf"
	"github.com/understudy-ha/understudy/lock"
)

// A Config says which API server to use, as whom, and which Lease there. In a pod every field may
// be empty. The tags are those of backends.Store.
type Config struct {
	Kubeconfig     string `setting:"a kubeconfig file; a pod needs none, it has a service account"` // read again when it changes
	Context        string `setting:"the context in the kubeconfig (default the only one)"`
	Server         string `setting:"the API server's URL, in place of the kubeconfig's or the pod's: https://HOST:PORT"`
	Namespace      string `setting:"the namespace of the Lease (default the context's or the pod's)"`
	Lease          string `setting:"the name of the Lease, one for each group of contenders (default understudy)"`
	ServiceAccount string `setting:"the directory with a pod's token, ca.crt and namespace (default where Kubernetes mounts it)"` // read again, too

	Logger *slog.Logger `json:"-"` // warns of a watch that is refused; nil: none

	// Dial makes the connections. TLS is made over what it returns. Nil: as usual.
	Dial func(ctx context.Context, network, address string) (net.Conn, error) `json:"-"`
}

// DefaultName is that of the Lease.
const DefaultName = "understudy"

// mounted is where Kubernetes mounts a service account.
const mounted = "/var/run/secrets/kubernetes.io/serviceaccount"

var (
	label     = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)
	subdomain = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)
)

// What the API server allows.
const (
	longestLabel = 63
	longestName  = 253
)

// Validate says everything that is wrong with c. Each error is a lock.FieldError, with the
// value and what to write instead.
func (c Config) Validate() error {
	var errs []error
	if c.Lease != "" && (!subdomain.MatchString(c.Lease) || len(c.Lease) > longestName) {
		errs = append(errs, lock.InFields(fmt.Errorf("%q must be small letters, digits, dashes and dots, at most %d, such as %s or billing.%s", c.Lease, longestName, DefaultName, DefaultName), "Lease"))
	}
	if c.Namespace != "" && (!label.MatchString(c.Namespace) || len(c.Namespace) > longestLabel) {
		errs = append(errs, lock.InFields(fmt.Errorf("%q must be small letters, digits and dashes, at most %d, such as default", c.Namespace, longestLabel), "Namespace"))
	}
	if c.Context != "" && c.Kubeconfig == "" {
		errs = append(errs, lock.InFields(errors.New("is given without a kubeconfig; name the file, too, or leave the context out"), "Context"))
	}
	if c.ServiceAccount != "" && c.Kubeconfig != "" {
		errs = append(errs, lock.InFields(errors.New("give one of them"), "Kubeconfig", "ServiceAccount"))
	} else if len(errs) == 0 {
		_, err := c.read()
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// address reads the URL of an API server.
func address(text, field string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, lock.InFields(fmt.Errorf("%q is not the URL of an API server; write it as https://10.0.0.1:6443", clientconf.Shown(text)), field)
	}
	if err := clientconf.CheckPort(cmp.Or(u.Port(), "443")); err != nil {
		return nil, lock.InFields(fmt.Errorf("%q is not the URL of an API server: %w", clientconf.Shown(text), err), field)
	}
	return u.JoinPath("."), nil
}

func (c Config) serviceAccount() string { return cmp.Or(c.ServiceAccount, mounted) }

// Hosts are HOST:PORT of the API server.
func (c Config) Hosts() []string {
	a, err := c.read()
	if err != nil {
		return nil
	}
	return []string{a.host()}
}

// Use has c name another API server, by HOST:PORT.
func (c *Config) Use(host string) { c.Server = "https://" + strings.TrimPrefix(host, "https://") }
