//go:build linux

package main

import (
	"go/parser"
	"go/token"
	"slices"
	"testing"
)

// TestPlant plants each kind of change, and changes nothing but conditions.
func TestPlant(t *testing.T) {
	src := `package p

const c = 1 < 2

func (s *T) f(a, b int, ok bool) bool {
	if ok || a < b {
		return a == b
	}
	for !ok {
	}
	return a == b
}
`
	text, mutants, err := plant("p/p.go", src, 7)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.ParseFile(token.NewFileSet(), "", text, 0); err != nil {
		t.Errorf("%v in\n%s", err, text)
	}
	var keys []string
	for i, u := range mutants {
		keys = append(keys, u.key)
		if u.id != 7+i {
			t.Errorf("mutant %d has the number %d", i, u.id)
		}
	}
	want := []string{
		"p/p.go T.f: ok || a < b => without ok",
		"p/p.go T.f: ok || a < b => without a < b",
		"p/p.go T.f: a < b => a >= b",
		"p/p.go T.f: a < b => a <= b",
		"p/p.go T.f: a == b => a != b",
		"p/p.go T.f: !ok => not !ok",
		"p/p.go T.f: a == b => a != b (2)",
	}
	if !slices.Equal(keys, want) {
		t.Errorf("planted %q\nwant    %q", keys, want)
	}
}
