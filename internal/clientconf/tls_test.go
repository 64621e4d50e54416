package clientconf

import (
	"crypto/x509"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// TestDistrust: a server's certificate that is not accepted is told with the server's name, and with the setting that
// cures it where there is one.
func TestDistrust(t *testing.T) {
	t.Parallel()
	leaf := &x509.Certificate{DNSNames: []string{"localhost"}, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour)}
	expired := x509.CertificateInvalidError{Cert: leaf, Reason: x509.Expired}
	other := leaf.VerifyHostname("foo")
	for _, test := range []struct {
		files TLSFiles
		err   error
		field string
		want  []string
	}{
		{TLSFiles{Named: "ServerName"}, other, "ServerName", []string{`the server's certificate is not for "foo"; write a name that it has`, "valid for localhost"}},
		{TLSFiles{Dialled: "Endpoints"}, other, "Endpoints", []string{"write a host that it has, or have this one added to it"}},
		{TLSFiles{}, other, "", []string{`not for "foo"; have this one added to it`}},
		{TLSFiles{Named: "ServerName"}, expired, "", []string{`the certificate of the server "foo" is not valid now; have it renewed there, or set this machine's clock`, "expired"}},
		{TLSFiles{}, x509.CertificateInvalidError{Cert: leaf, Reason: x509.NotAuthorizedToSign}, "", []string{`the certificate of the server "foo": `}},
		{TLSFiles{}, x509.UnknownAuthorityError{Cert: leaf}, "CAFile", []string{"give a file of those that sign it"}},
	} {
		err := test.files.distrust(test.err, "foo")
		for _, want := range test.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%v lacks %q", err, want)
			}
		}
		var field *lock.FieldError
		if errors.As(err, &field) != (test.field != "") || field != nil && field.Fields[0] != test.field {
			t.Errorf("%v, want the field %q", err, test.field)
		}
	}
}
