package certs

import (
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var wanted = []Wanted{{Name: "a"}, {Name: "b"}, {Name: "alice", Operator: true}}

const day = 24 * time.Hour

// TestMake: what is made is good for both sides of a connection, under its own name alone.
func TestMake(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "certs")
	made, err := Make(dir, wanted, day)
	must(t, err)
	if len(made) != 4 || made[0].Name != "ca" {
		t.Fatalf("%+v", made)
	}
	for _, m := range made[1:] {
		f := Files{CA: made[0].Cert, Cert: m.Cert, Key: m.Key}
		must(t, f.CheckPeer(""))
		if err := f.CheckPeer("a"); (err == nil) != (m.Name == "a") {
			t.Errorf("%s as a: %v", m.Name, err)
		}
		if info, err := os.Stat(m.Key); err != nil || info.Mode() != 0o600 {
			t.Errorf("%v, %v", info.Mode(), err)
		}
	}
	pair, err := Files{Cert: made[3].Cert, Key: made[3].Key}.Pair()
	must(t, err)
	if c := pair.Leaf; len(c.DNSNames) != 0 || len(c.URIs) != 1 || c.URIs[0].String() != "understudy://operator/alice" {
		t.Errorf("%v %v", c.DNSNames, c.URIs)
	}
}

// TestMakeRenews: the key stays, so that a file that is read in between is one of the two, and
// what was signed before stays good beside an authority that is renewed.
func TestMakeRenews(t *testing.T) {
	dir := t.TempDir()
	first, err := Make(dir, wanted, day)
	must(t, err)
	key, err := os.ReadFile(first[1].Key)
	must(t, err)
	old := filepath.Join(t.TempDir(), "old.pem")
	must(t, os.Link(first[2].Cert, old))
	second, err := Make(dir, append([]Wanted{{Name: "c"}}, wanted...), 20*365*day) // outlives the authority
	must(t, err)
	if !second[0].Renewed || !second[0].Until.After(first[0].Until) || second[1].Renewed || !second[2].Renewed {
		t.Errorf("%+v", second)
	}
	if now, err := os.ReadFile(first[1].Key); err != nil || string(now) != string(key) {
		t.Errorf("the key is another, %v", err)
	}
	must(t, Files{CA: first[0].Cert, Cert: old, Key: first[2].Key}.CheckPeer("b"))
	must(t, Files{CA: first[0].Cert, Cert: first[1].Cert, Key: first[1].Key}.CheckPeer("a"))
	third, err := Make(dir, wanted, day)
	if must(t, err); third[0].Renewed || !third[0].Until.Equal(second[0].Until.Truncate(time.Second)) {
		t.Errorf("%+v", third[0])
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*.tmp")); err != nil || len(left) > 0 {
		t.Errorf("%v, %v", left, err)
	}
}

// TestMakeOverwritesNothingOfOthers: a directory that does not fit together stays as it is.
func TestMakeOverwritesNothingOfOthers(t *testing.T) {
	foreign := t.TempDir()
	_, err := Make(foreign, wanted, day)
	must(t, err)
	put := func(to, from string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			data, err := os.ReadFile(filepath.Join(foreign, from))
			must(t, err)
			must(t, os.WriteFile(filepath.Join(dir, to), data, 0o600))
		}
	}
	drop := func(names ...string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			for _, name := range names {
				must(t, os.Remove(filepath.Join(dir, name)))
			}
		}
	}
	write := func(name, text string) func(*testing.T, string) {
		return func(t *testing.T, dir string) { must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600)) }
	}
	for says, spoil := range map[string]func(*testing.T, string){
		"there is only one":         drop("ca.key"),
		"which has signed it":       drop("ca.key", "ca.pem"),
		"was not signed by":         func(t *testing.T, dir string) { put("b.pem", "b.pem")(t, dir); put("b.key", "b.key")(t, dir) },
		"does not belong to":        put("b.key", "b.key"),
		"holds nothing in PEM":      write("b.pem", "nothing"),
		"malformed":                 write("b.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
		"give another directory":    write("b.key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
		"it has more than 1048576 ": write("b.pem", strings.Repeat("x", 1<<20+1)),
	} {
		t.Run(says, func(t *testing.T) {
			dir := t.TempDir()
			_, err := Make(dir, wanted, day)
			must(t, err)
			spoil(t, dir)
			before := all(t, dir)
			if _, err := Make(dir, wanted, day); err == nil || !strings.Contains(err.Error(), says) {
				t.Errorf("got %v", err)
			}
			if after := all(t, dir); after != before {
				t.Error("something was written")
			}
		})
	}
}

// TestMakeRefusesNames that cannot be those of files, or of one certificate.
func TestMakeRefusesNames(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "none")
	_, err := Make(dir, []Wanted{{Name: "ca"}, {Name: "../x"}, {}, {Name: "a"}, {Name: "a", Operator: true}}, day)
	for _, says := range []string{`name "ca": is that of the authority`, `name "../x": write letters`, `name "": write letters`, `name "a": stands there twice`} {
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("want %s, got %v", says, err)
		}
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("something was written")
	}
}

// all is what every file of a directory holds.
func all(t *testing.T, dir string) (text string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	must(t, err)
	for _, file := range files {
		data, err := os.ReadFile(file)
		must(t, err)
		text += file + string(data)
	}
	return text
}

// TestAuthoritySignsNoOther: its certificate is for signing, at one level.
func TestAuthoritySignsNoOther(t *testing.T) {
	dir := t.TempDir()
	_, err := Make(dir, wanted, day)
	must(t, err)
	ca, err := load(dir, "ca")
	must(t, err)
	if c := ca.cert; !c.IsCA || !c.MaxPathLenZero || c.KeyUsage&x509.KeyUsageCertSign == 0 {
		t.Errorf("%+v", c)
	}
}
