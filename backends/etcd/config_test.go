package etcd

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestValidate: each mistake is told by its field and its value, all in one error.
func TestValidate(t *testing.T) {
	open := filepath.Join(t.TempDir(), "password")
	must(t, os.WriteFile(open, []byte("hunter2\n"), 0o644))
	must(t, os.Chmod(open, 0o644)) // whatever the umask
	one := []string{"h1:2379"}
	for _, test := range []struct {
		config Config
		want   []string // none: it is right
	}{
		{Config{Endpoints: one}, nil},
		{Config{Endpoints: []string{"http://h1:2379", "http://[::1]:2379/"}, Prefix: "team/understudy"}, nil},
		{Config{Endpoints: []string{"https://h1:2379"}}, nil},
		{Config{}, []string{"Endpoints", "h1:2379"}},
		{Config{Endpoints: []string{"h1"}}, []string{"Endpoints", `"h1"`, "HOST:PORT"}},
		{Config{Endpoints: []string{"h1:99999"}}, []string{"Endpoints", `"h1:99999" is not an endpoint: port "99999" must be a number from 1 to 65535`}},
		{Config{Endpoints: []string{"h1:bar"}}, []string{"Endpoints", `port "bar" must be`}},
		{Config{Endpoints: []string{"https://h1:0"}}, []string{"Endpoints", `port "0" must be`}},
		{Config{Endpoints: []string{"ftp://h1:1"}}, []string{"Endpoints", "http://HOST:PORT"}},
		{Config{Endpoints: []string{"https://h1:2379", "http://h2:2379"}}, []string{`"http://h2:2379"`, "https://"}},
		{Config{Endpoints: []string{"h1:2379", "http://h1:2379"}}, []string{"given twice"}},
		{Config{Endpoints: one, Username: "u"}, []string{"Username", "PasswordFile"}},
		{Config{Endpoints: one, Username: "u", PasswordFile: open}, []string{"PasswordFile", open, "chmod 600"}},
		{Config{Endpoints: one, Username: "u", PasswordFile: "/does/not/exist"}, []string{"PasswordFile", "/does/not/exist"}},
		{Config{Endpoints: one, CertFile: "c"}, []string{"CertFile", "KeyFile"}},
		{Config{Endpoints: one, CAFile: "/does/not/exist"}, []string{"CAFile", "/does/not/exist"}},
		{Config{Endpoints: one, Prefix: "/a"}, []string{"Prefix", `"/a"`}},
		{Config{Prefix: "a//b", CAFile: "x", Username: "u"}, []string{"Endpoints", "Prefix", "CAFile", "Username"}},
	} {
		err := test.config.Validate()
		if (err == nil) != (len(test.want) == 0) {
			t.Errorf("%+v: %v", test.config, err)
			continue
		}
		for _, part := range test.want {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%+v: %q does not say %q", test.config, err, part)
			}
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error shows the password: %v", err)
		}
	}
}

func TestTooOld(t *testing.T) {
	for version, want := range map[string]bool{
		"3.4.23": true, "2.3.8": true, "3.5.0": false, "3.10.1": false, "4.0.0": false, "3.5.0-rc.1": false, "": false, "x": false,
	} {
		if got := tooOld(version); got != want {
			t.Errorf("%q: %v", version, got)
		}
	}
}
