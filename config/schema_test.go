package config

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"
	"go.yaml.in/yaml/v3"
)

// editor judges a file as an editor does, by the schema alone.
func editor(t *testing.T) func(text string) error {
	t.Helper()
	text, err := json.Marshal(Schema())
	if err != nil {
		t.Fatal(err)
	}
	var s jsonschema.Schema
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	r, err := s.Resolve(nil)
	if err != nil {
		t.Fatal(err)
	}
	return func(text string) error {
		var doc any
		if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
			t.Fatal(err)
		}
		return r.Validate(doc)
	}
}

// nested is a key with a value, each section on a line of its own.
func nested(k Key, value string) string {
	section, name, ok := strings.Cut(k.Name, ".")
	if !ok {
		return k.Name + ": " + value + "\n"
	}
	return section + ":\n  " + name + ": " + value + "\n"
}

// TestSchemaJudges expects an editor to accept what Read does, of every key, and to
// refuse what is of another type, and keys that there are not.
func TestSchemaJudges(t *testing.T) {
	judge := editor(t)
	for _, k := range Keys() {
		file, _, _ := sample(k)
		if err := judge(nested(k, file)); err != nil {
			t.Errorf("%s: %s is refused: %v", k.Name, file, err)
		}
		if err := judge(nested(k, "[[x]]")); err == nil {
			t.Errorf("%s: a list of lists is accepted", k.Name)
		}
		k.Name += "x"
		if err := judge(nested(k, file)); err == nil {
			t.Errorf("%s is accepted, and there is none", k.Name)
		}
	}
	for text, want := range map[string]bool{
		"ttl: 15": false, "ttl: 15s": true, "ttl: 1m30s": true, "hangTimeout: 0": true, "hangTimeout: 3": false, "hangTimeout: 3s": true,
		"backend: rafd": false, "stdin: perhaps": false, "priority: high": false, "label: {a: {b: c}}": false, "label: {a: 7}": true,
		"roles: [{name: a, command: x}]": true, "roles: [{name: a, command: [x, y]}]": true, "roles: [{command: x}]": false, "roles: [{name: a, comand: x}]": false,
	} {
		if err := judge(text); (err == nil) != want {
			t.Errorf("%s is accepted: %t, want %t: %v", text, err == nil, want, err)
		}
	}
}

// TestDocumentedFiles reads the files of settings that docs/configuration.md shows.
func TestDocumentedFiles(t *testing.T) {
	page, err := os.ReadFile("../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	judge := editor(t)
	blocks := strings.Split(string(page), "```yaml\n")[1:]
	if len(blocks) != 5 {
		t.Errorf("%d files are shown, want 5", len(blocks))
	}
	for _, block := range blocks {
		text, _, _ := strings.Cut(block, "```")
		if _, err := Read(Source{Environ: []string{"UNDERSTUDY_CONFIG=" + write(t, text)}}); err != nil {
			t.Error(err)
		}
		if err := judge(text); err != nil {
			t.Error(err)
		}
	}
}
