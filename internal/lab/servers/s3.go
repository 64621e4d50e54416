package servers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// Bucket is that of an S3 server.
const Bucket = "understudy"

// StartS3 starts a versitygw, whose one bucket keeps no earlier versions until it is told to, and returns when it answers.
// With o.TLS it speaks TLS alone, and asks for no certificate.
func StartS3(ctx context.Context, dir string, o Options) (*Cluster, error) {
	path, err := Path("s3")
	if err != nil {
		return nil, err
	}
	if dir, err = filepath.Abs(dir); err != nil { // it takes no relative ones
		return nil, err
	}
	members, err := start(ctx, dir, func(dir string) ([]*Member, error) { return s3(path, dir, o) })
	if err != nil {
		return nil, fmt.Errorf("start versitygw: %w", err)
	}
	return &Cluster{Members: members, leads: func(context.Context, *Member) (bool, error) { return true, nil }}, nil
}

// S3User is one without rights, and its secret.
const S3User, S3Secret = "billing", "billing-secret"

func s3(path, dir string, o Options) ([]*Member, error) {
	free, err := Addresses(1)
	if err != nil {
		return nil, err
	}
	m := &Member{
		name: "versitygw", addr: free[0], path: path,
		data: filepath.Join(dir, "data"), log: filepath.Join(dir, "log"), up: s3Up,
	}
	iam, versions := filepath.Join(dir, "iam"), filepath.Join(dir, "versions")
	m.args = []string{
		"--access", manager, "--secret", manager + "-secret", "--iam-dir", iam, "--iam-cache-disable", "--keep-alive", "--quiet",
		"--port", m.addr, "--health", "/health",
	}
	if m.probe = "http://" + m.addr; o.TLS != nil {
		m.probe = ""
		m.args = append(m.args, "--cert", o.TLS.Cert, "--key", o.TLS.Key)
	}
	m.args = append(append(m.args, o.Args...), "posix", "--versioning-dir", versions, m.data)
	for _, one := range []string{iam, versions, filepath.Join(m.data, Bucket)} {
		err = errors.Join(err, os.MkdirAll(one, 0o700))
	}
	users := fmt.Sprintf(`{"accessAccounts": {%q: {"access": %[1]q, "secret": %q, "role": "user"}}}`, S3User, S3Secret)
	return []*Member{m}, errors.Join(err,
		os.WriteFile(filepath.Join(iam, "users.json"), []byte(users), 0o600),
		os.WriteFile(m.Credentials(), []byte(s3Credentials(manager, manager+"-secret")), 0o600),
		os.WriteFile(m.Credentials()+"-of-user", []byte(s3Credentials(S3User, S3Secret)), 0o600))
}

func s3Credentials(access, secret string) string {
	return fmt.Sprintf("[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n", access, secret)
}

// Credentials is the file of who may do everything on an S3 server.
func (m *Member) Credentials() string { return filepath.Join(filepath.Dir(m.data), "credentials") }

// UserCredentials is the file of S3User.
func (m *Member) UserCredentials() string { return m.Credentials() + "-of-user" }

func s3Up(ctx context.Context, m *Member) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	if m.probe == "" { // it speaks TLS
		c, err := new(net.Dialer).DialContext(ctx, "tcp", m.addr)
		if err == nil {
			err = c.Close()
		}
		return err
	}
	text, status, err := get(ctx, m.probe+"/health", "")
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("%d %s", status, strings.TrimSpace(text))
	}
	return err
}
