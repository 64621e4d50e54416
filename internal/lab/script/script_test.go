package script

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
)

const text = `A mistake.
# Why it matters.
options: n=2 only=overlap
file: a/b.go
old:
	one

new:
	two
trace:
# The beginning.
start a
start b
----
a: works
b: waits

stop a
----
b: works
`

// TestRead reads a whole script, and writes it as it was.
func TestRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.txt")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	want := []Block{{[]string{"# The beginning.", "start a", "start b"}, "a: works\nb: waits\n"}, {[]string{"stop a"}, "b: works\n"}}
	if s.Title != "A mistake." || s.Options != "n=2 only=overlap" || !reflect.DeepEqual(s.Trace, want) {
		t.Errorf("read %+v", s)
	}
	if !reflect.DeepEqual(s.Hunks, []Hunk{{"a/b.go", "\tone\n", "\ttwo"}}) {
		t.Errorf("read %q", s.Hunks)
	}
	if got := s.Steps(); !slices.Equal(got, []string{"start a", "start b", "stop a"}) {
		t.Errorf("steps: %q", got)
	}
	if err := s.Write(s.Trace); err != nil {
		t.Fatal(err)
	}
	if again, err := os.ReadFile(path); string(again) != text {
		t.Errorf("written anew: %s, %v", again, err)
	}
}

// TestPlant changes the one place that a hunk names, and refuses one that is not there.
func TestPlant(t *testing.T) {
	root, dir := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "x.go"), []byte("a b a"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := Script{Hunks: []Hunk{{"x.go", "b", "c"}}}
	if _, err := s.Plant(root, dir); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "0_x.go")); string(got) != "a c a" {
		t.Errorf("planted %q, %v", got, err)
	}
	for _, old := range []string{"a", "z"} {
		s.Hunks[0].Old = old
		if _, err := s.Plant(root, dir); err == nil {
			t.Errorf("%q was planted", old)
		}
	}
}
