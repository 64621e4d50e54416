package s3

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"regexp"
	"strings"

	"github.com/understudy-ha/understudy/internal/clientconf"
	"github.com/understudy-ha/understudy/lock"
)

// A Config names a bucket, an object in it, and the credentials. Every field but Bucket may be empty. The tags are
// those of backends.Store.
type Config struct {
	Bucket          string `setting:"the bucket"`
	Object          string `setting:"the key of this group's object; one beside it ends in .start (default understudy)"`
	Region          string `setting:"the bucket's region (default us-east-1)"`
	Endpoint        string `setting:"the server's URL (default AWS's in the region): https://HOST:PORT"`
	CredentialsFile string `setting:"access key and secret as aws configure writes them, for nobody else to read (default the environment, ~/.aws or the machine's role)"` // read again when it changes
	Profile         string `setting:"the profile in such a file (default default)"`
	CAFile          string `setting:"authorities that sign the server's certificate (default the system's)"`

	Logger *slog.Logger `json:"-"` // told of certificates that expire; nil: nothing is logged

	// Dial makes the connections. TLS is made over what it returns. Nil: as usual.
	Dial func(ctx context.Context, network, address string) (net.Conn, error) `json:"-"`
}

// What an empty field means.
const (
	DefaultObject = "understudy"
	defaultRegion = "us-east-1"
)

// longestObject leaves room for what is put behind it, in S3's 1024 bytes.
const longestObject = 1000

var (
	bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)
	regionName = regexp.MustCompile(`^[a-z0-9-]{1,40}$`)
)

// Validate says everything that is wrong with c. Each error is a lock.FieldError, with the
// value and what to write instead.
func (c Config) Validate() error {
	var errs []error
	switch {
	case c.Bucket == "":
		errs = append(errs, lock.InFields(errors.New("none given; write the bucket's name, such as my-locks"), "Bucket"))
	case !bucketName.MatchString(c.Bucket):
		errs = append(errs, lock.InFields(fmt.Errorf("%q must be small letters, digits, dots and dashes, 3 to 63, such as my-locks", c.Bucket), "Bucket"))
	}
	if c.Object != "" && (lock.CheckName("", c.Object) != nil || len(c.Object) > longestObject) {
		errs = append(errs, lock.InFields(fmt.Errorf("%.40q must be a name of at most %d bytes, such as %s or billing/understudy", c.Object, longestObject, DefaultObject), "Object"))
	}
	if c.Region != "" && !regionName.MatchString(c.Region) {
		errs = append(errs, lock.InFields(fmt.Errorf("%q must be small letters, digits and dashes, such as %s", c.Region, defaultRegion), "Region"))
	}
	u, err := c.url()
	if errs = append(errs, err); err == nil && u.Scheme == "http" && c.CAFile != "" {
		errs = append(errs, lock.InFields(fmt.Errorf("%q speaks no TLS, and there is a CA file; write https, or leave the file out", c.Endpoint), "Endpoint", "CAFile"))
	}
	if c.CredentialsFile != "" {
		_, err := c.fromFile()
		errs = append(errs, lock.InFields(err, "CredentialsFile"))
	}
	return errors.Join(append(errs, c.files().Check())...)
}

func (c Config) files() clientconf.TLSFiles {
	return clientconf.TLSFiles{CA: c.CAFile, Dialled: "Endpoint"}
}

func (c Config) region() string {
	return cmp.Or(c.Region, os.Getenv("AWS_REGION"), defaultRegion)
}

// url is the server's.
func (c Config) url() (*url.URL, error) {
	text := cmp.Or(c.Endpoint, "https://s3."+c.region()+".amazonaws.com")
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "" {
		return nil, lock.InFields(fmt.Errorf("%q is not the URL of a server; write it as https://s3.example.com or https://10.0.0.1:9000", clientconf.Shown(text)), "Endpoint")
	}
	if err := clientconf.CheckPort(cmp.Or(u.Port(), "443")); err != nil {
		return nil, lock.InFields(fmt.Errorf("%q is not the URL of a server: %w", clientconf.Shown(text), err), "Endpoint")
	}
	u.Path = ""
	return u, nil
}

// Hosts are HOST:PORT of the server; none where c names no bucket, as the server that is meant without an endpoint
// is nobody's choice then.
func (c Config) Hosts() []string {
	u, err := c.url()
	if err != nil || c.Bucket == "" {
		return nil
	}
	port := "443"
	if u.Scheme == "http" {
		port = "80"
	}
	return []string{net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), port))}
}

// Secure reports whether connections use TLS.
func (c Config) Secure() bool {
	u, err := c.url()
	return err == nil && u.Scheme == "https"
}

// Use has c name another server, by HOST:PORT. It is reached with TLS where the one before was.
func (c *Config) Use(host string) {
	scheme := "http://"
	if c.Secure() {
		scheme = "https://"
	}
	c.Endpoint = scheme + host
}
