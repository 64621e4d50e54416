package config

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the generated parts of docs/ anew")

// TestDocs expects the schema and the table of keys in docs/ to be current. -update
// writes them.
func TestDocs(t *testing.T) {
	schema, err := json.MarshalIndent(Schema(), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	current(t, "../docs/understudy.schema.json", func(string) string { return string(schema) + "\n" })
	current(t, "../docs/configuration.md", func(old string) string {
		const begin, end = "<!-- begin keys -->\n", "<!-- end keys -->"
		before, rest, ok := strings.Cut(old, begin)
		_, after, also := strings.Cut(rest, end)
		if !ok || !also {
			t.Fatalf("docs/configuration.md: has no place for the table of keys: %q and %q", begin, end)
		}
		return before + begin + table() + end + after
	})
}

func current(t *testing.T, path string, want func(old string) string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil && !*update {
		t.Fatal(err)
	}
	now := want(string(text))
	if *update {
		if err := os.WriteFile(path, []byte(now), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if now != string(text) {
		t.Errorf("%s is not current: go test ./config -run TestDocs -update", path)
	}
}

// TestSchema expects the schema to have every key where the file has it, and no other.
func TestSchema(t *testing.T) {
	var count func(o map[string]any) int
	count = func(o map[string]any) (n int) {
		for _, p := range o["properties"].(map[string]any) {
			if p := p.(map[string]any); p["properties"] != nil {
				n += count(p)
			} else {
				n++
			}
		}
		return n
	}
	if n := count(Schema()); n != len(Keys()) {
		t.Errorf("the schema has %d keys, want %d", n, len(Keys()))
	}
	for _, k := range Keys() {
		at := Schema()
		for part := range strings.SplitSeq(k.Name, ".") {
			at, _ = at["properties"].(map[string]any)[part].(map[string]any)
		}
		if at["description"] != k.Usage {
			t.Errorf("%s is not in the schema", k.Name)
		}
	}
}

// table is every key as a table in Markdown.
func table() string {
	var b strings.Builder
	b.WriteString("| in the file | type | default | what |\n|---|---|---|---|\n")
	for _, k := range Keys() {
		usage := k.Usage
		if k.Secret {
			usage += "; by " + k.Variable() + ", or a file that nobody else may read, never by flag"
		}
		if k.Command {
			usage += " (the understudy command's alone)"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", k.Name, k.Type(), k.Default, usage)
	}
	return b.String()
}
