package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/cli"
)

// TestTLSFails: whatever keeps TLS with a store from coming about, with any store, it is a mistake in what was given
// until somebody corrects it, and says what TLS says.
func TestTLSFails(t *testing.T) {
	t.Parallel()
	good, goodCA := certificate(t, "127.0.0.1", time.Hour)
	_, otherCA := certificate(t, "127.0.0.1", time.Hour)
	elsewhere, elsewhereCA := certificate(t, "10.9.9.9", time.Hour)
	expired, expiredCA := certificate(t, "127.0.0.1", -time.Hour)
	dir := t.TempDir()
	credentials := filepath.Join(dir, "credentials")
	must(t, os.WriteFile(credentials, []byte("[default]\naws_access_key_id = a\naws_secret_access_key = b\n"), 0o600))
	for name, c := range map[string]struct {
		shows   tls.Certificate
		ca, say string
		wanted  tls.ClientAuthType
	}{
		"another authority":        {good, otherCA, "signed by unknown authority", tls.NoClientCert},
		"another name":             {elsewhere, elsewhereCA, "not 127.0.0.1", tls.NoClientCert},
		"an expired certificate":   {expired, expiredCA, "expired", tls.NoClientCert},
		"a certificate is missing": {good, goodCA, "certificate required", tls.RequireAnyClientCert},
	} {
		for store, flags := range map[string]string{
			"etcd":       "--etcd-endpoints=https://ADDRESS --etcd-ca-file=CA",
			"consul":     "--consul-address=https://ADDRESS --consul-ca-file=CA",
			"postgres":   "--postgres-url=postgres://u@ADDRESS/db --postgres-ca-file=CA",
			"nats":       "--nats-url=tls://ADDRESS --nats-ca-file=CA",
			"kubernetes": "--kubernetes-kubeconfig=" + kubeconfig(t, c.ca) + " --kubernetes-server=https://ADDRESS",
			"s3":         "--s3-bucket=my-locks --s3-endpoint=https://ADDRESS --s3-ca-file=CA --s3-credentials-file=" + credentials,
		} {
			t.Run(name+"/"+store, func(t *testing.T) {
				t.Parallel()
				address := speaksTLS(t, store, &tls.Config{Certificates: []tls.Certificate{c.shows}, ClientAuth: c.wanted})
				rest := strings.Fields(strings.NewReplacer("ADDRESS", address, "CA", c.ca).Replace(flags))
				for _, command := range []string{"status --role=r", "history --role=r", "pause --role=r", "token-floor --role=r --above=1", "evict --id=a", "adopt --identity=5ALCDDCG6LVT5YUIMMXLXHZWAJ"} {
					args := append(append(strings.Fields(command), "--backend="+store, "--timeout=2s"), rest...)
					code, text := said(t, args...)
					if store == "nats" { // its library may notice first that the connection is closed, before it reads why
						text = strings.ReplaceAll(text, "connection closed by remote after TLS handshake", "certificate required")
					}
					if code != cli.Usage || !strings.Contains(text, c.say) {
						t.Errorf("%q: exit code %d, want %d and %q\n%s", args, code, cli.Usage, c.say, text)
					}
				}
			})
		}
	}
}

// kubeconfig writes a file of a client that trusts these authorities, and shows a token.
func kubeconfig(t *testing.T, ca string) (file string) {
	file = filepath.Join(t.TempDir(), "kubeconfig")
	must(t, os.WriteFile(file, fmt.Appendf(nil, `{apiVersion: v1, kind: Config, current-context: c,
contexts: [{name: c, context: {cluster: c, user: u, namespace: n}}], users: [{name: u, user: {token: t}}],
clusters: [{name: c, cluster: {server: "https://127.0.0.1:1", certificate-authority: %q}}]}`, ca), 0o600))
	return file
}

// certificate makes one of a server at an address, which is its own authority, and writes that to a file.
func certificate(t *testing.T, address string, left time.Duration) (pair tls.Certificate, file string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(left),
		IPAddresses: []net.IP{net.ParseIP(address)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	must(t, err)
	file = filepath.Join(t.TempDir(), "ca.pem")
	must(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, file
}

// speaksTLS listens, and begins TLS on each connection, after what the store's own protocol says before that.
func speaksTLS(t *testing.T, store string, c *tls.Config) (address string) {
	t.Helper()
	if store == "etcd" {
		c.NextProtos = []string{"h2"}
	}
	return talks(t, func(conn net.Conn) {
		switch store {
		case "postgres":
			_, _ = io.ReadFull(conn, make([]byte, 8)) // the request for TLS
			_, _ = conn.Write([]byte("S"))
		case "nats":
			_, _ = conn.Write([]byte(`INFO {"server_id":"a","version":"2.12.0","max_payload":1048576,"tls_required":true}` + "\r\n"))
		}
		_ = tls.Server(conn, c).Handshake()
		_, _ = io.Copy(io.Discard, conn) // until the other side, which has read why, hangs up
	})
}
