package certs

import (
	"crypto/x509"
	"net/url"
	"testing"
)

// TestNames has words for a certificate that bears no name.
func TestNames(t *testing.T) {
	t.Parallel()
	for want, c := range map[string]*x509.Certificate{
		"nobody, as it has neither a DNS name nor a URI": {},
		`"a", "b"`:                           {DNSNames: []string{"a", "b"}},
		`"a", "understudy://operator/alice"`: {DNSNames: []string{"a"}, URIs: []*url.URL{OperatorURI("alice")}},
	} {
		if got := Names(c); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
