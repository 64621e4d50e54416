package state

import (
	"os"
	"reflect"
	"strings"
	"testing"
)

// TestRecordsAreDocumented: docs/records.md names every field.
func TestRecordsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../docs/records.md")
	if err != nil {
		t.Fatal(err)
	}
	_, page, _ := strings.Cut(string(text), "## What package state keeps")
	for _, of := range []reflect.Type{reflect.TypeFor[head](), reflect.TypeFor[image](), reflect.TypeFor[entry](), reflect.TypeFor[Command]()} {
		for i := range of.NumField() {
			if f := of.Field(i); f.IsExported() && f.Name != "Format" && !strings.Contains(page, "`"+f.Name+"`") {
				t.Errorf("docs/records.md lacks field %s of %s", f.Name, of)
			}
		}
	}
}

// TestOddRecords are refused by name, and not taken for something else.
func TestOddRecords(t *testing.T) {
	good := newEntry(1, "", [][]byte{[]byte("a"), {}, []byte("bc\n")}).encode()
	if e, err := decodeEntry("k", good); err != nil || len(e.commands) != 3 || string(e.commands[2]) != "bc\n" {
		t.Errorf("%q, %v", e.commands, err)
	}
	for what, c := range map[string]struct{ value, want string }{
		"nothing":             {"", "is not one of this package's"},
		"no record":           {"x", "is not one of this package's"},
		"too short":           {string(good[:len(good)-1]), "is not one of this package's"},
		"too long":            {string(good) + "x", "is not one of this package's"},
		"a negative size":     {`{"Format":1,"Sizes":[-1]}`, "is not one of this package's"},
		"a field that is odd": {`{"Format":1,"Sizes":1}`, "is not one of this package's"},
		"a newer one":         {`{"Format":2}`, `key "k" has format 2, this program knows 1: use the newer program`},
	} {
		if _, err := decodeEntry("k", []byte(c.value)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := decodeHead("k", []byte(`{"Format":2}`)); err == nil {
		t.Error("a newer head is read")
	}
}
