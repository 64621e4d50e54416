package certs

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"log/slog"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/lab"
)

var must = lab.Must

// issue writes a certificate that signs itself, valid from one time to another.
func issue(t *testing.T, f Files, from, to time.Time) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	c := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"a"}, NotBefore: from, NotAfter: to, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	must(t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	must(t, os.WriteFile(f.Cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	must(t, os.WriteFile(f.Key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600))
}

func files(t *testing.T) Files {
	dir := t.TempDir()
	return Files{CA: filepath.Join(dir, "c.pem"), Cert: filepath.Join(dir, "c.pem"), Key: filepath.Join(dir, "c.key")}
}

// TestLookWarnsBeforeACertificateRunsOut once at a third and once at a tenth of its life,
// again and again when it is over, and of a file that cannot be read; not of a new one.
func TestLookWarnsBeforeACertificateRunsOut(t *testing.T) {
	f, said := files(t), map[string]string{}
	f.CA = ""
	looks := func(want string) {
		t.Helper()
		var out bytes.Buffer
		f.look(slog.New(slog.NewTextHandler(&out, nil)), said)
		if want == "" && out.Len() > 0 || !strings.Contains(out.String(), want) {
			t.Errorf("want %q, got %s", want, out.String())
		}
	}
	life := func(left time.Duration) { issue(t, f, time.Now().Add(left-100*time.Hour), time.Now().Add(left)) }
	life(50 * time.Hour)
	looks("")
	life(33 * time.Hour)
	looks("a third")
	looks("")
	life(9 * time.Hour)
	looks("a tenth")
	looks("")
	life(-time.Minute)
	looks("expired")
	looks("level=ERROR")
	must(t, os.WriteFile(f.Cert, nil, 0o600))
	looks("cannot be read")
	life(90 * time.Hour)
	looks("")
	wrong := func(Files) error { return errors.New("it names b") }
	var out bytes.Buffer
	for range 2 {
		f.look(slog.New(slog.NewTextHandler(&out, nil)), said, wrong)
	}
	if text := out.String(); strings.Count(text, "does not fit, so new connections fail: it names b") != 1 {
		t.Errorf("got %s", text)
	}
	life(9 * time.Hour)
	f = Files{CA: f.Cert} // an authority likewise
	looks("a tenth")
}

// TestEndsOfWhatCannotBeRead: its last content counts for connections, and so here.
func TestEndsOfWhatCannotBeRead(t *testing.T) {
	f := files(t)
	ends := f.Ends()
	if all := ends(); len(all) > 0 {
		t.Errorf("before there are files: %v", all)
	}
	issue(t, f, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	want := ends()
	if want[f.Cert].IsZero() {
		t.Errorf("got %v", want)
	}
	must(t, os.WriteFile(f.Cert, nil, 0o600))
	if got := ends(); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestReaderKeepsWhatItCannotReplace: a renewal writes one file after the other.
func TestReaderKeepsWhatItCannotReplace(t *testing.T) {
	f := files(t)
	issue(t, f, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	r, err := NewReader(f)
	must(t, err)
	first := r.Pair().Leaf
	key, err := os.ReadFile(f.Key)
	must(t, err)
	issue(t, f, time.Now().Add(-time.Hour), time.Now().Add(2*time.Hour))
	renewed, err := os.ReadFile(f.Key)
	must(t, err)
	must(t, os.WriteFile(f.Key, key, 0o600)) // still the old one
	if got := r.Pair().Leaf; !got.Equal(first) {
		t.Error("half of a renewal counts")
	}
	must(t, os.WriteFile(f.Key, renewed, 0o600))
	if got := r.Pair().Leaf; got.Equal(first) {
		t.Error("the renewal does not count")
	}
	roots := r.Roots()
	must(t, os.Remove(f.CA))
	if got := r.Roots(); !got.Equal(roots) {
		t.Error("the authorities are gone with their file")
	}
	if _, err := NewReader(f); err == nil {
		t.Error("a reader of nothing")
	}
}

func TestCheckRefusesWhatIsNotValidYet(t *testing.T) {
	f := files(t)
	issue(t, f, time.Now().Add(time.Hour), time.Now().Add(2*time.Hour))
	if err := f.Check(); err == nil || !strings.Contains(err.Error(), "not valid before") {
		t.Errorf("got %v", err)
	}
}

// TestExposedKeyIsSaid: a key that everybody may read is used, and warned of once, until it is mended
// and exposed again.
func TestExposedKeyIsSaid(t *testing.T) {
	f := files(t)
	issue(t, f, time.Now().Add(-time.Hour), time.Now().Add(90*time.Hour))
	var log bytes.Buffer
	said := map[string]string{}
	for _, step := range []struct {
		mode os.FileMode
		want string
	}{{0o600, ""}, {0o640, ""}, {0o440, ""}, {0o644, "mode 0644"}, {0o644, ""}, {0o600, ""}, {0o604, "mode 0604"}} {
		must(t, os.Chmod(f.Key, step.mode))
		log.Reset()
		f.look(slog.New(slog.NewTextHandler(&log, nil)), said)
		if text := log.String(); step.want == "" && text != "" || !strings.Contains(text, step.want) {
			t.Errorf("mode %o: want %q, got %s", step.mode, step.want, text)
		}
	}
}
