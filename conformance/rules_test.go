package conformance

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// TestRules expects every rule to be a sentence of the contract, word for word,
// and every case to have a name and a rule.
func TestRules(t *testing.T) {
	contract := comments(t, "../lock") + comments(t, "../coordinator")
	seen := map[string]bool{}
	for _, c := range cases {
		if c.name == "" || seen[c.name] {
			t.Errorf("case %q: no name, or twice", c.name)
		}
		seen[c.name] = true
		if len(strings.Fields(c.rule)) < 4 || !strings.Contains(contract, words(c.rule)) {
			t.Errorf("%s: the contract does not say %q", c.name, c.rule)
		}
	}
	for _, f := range []Fault{
		Cut, CutReplies, CutRequests, Refuse, Restart, Pause, KillLeader, Save, Compact,
		DeleteSession, RevokeLease, LoseNode, DeleteRole, Overwrite, Leftovers, Operator, Values,
	} {
		if !tested(f) {
			t.Errorf("no case needs the fault %q", f)
		}
	}
}

// tested reports whether a case needs the fault.
func tested(f Fault) bool {
	for _, c := range cases {
		for _, need := range c.needs {
			if need == f {
				return true
			}
		}
	}
	return false
}

// comments are the words of every comment in the folder's code.
func comments(t *testing.T, dir string) string {
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no code in %s: %v", dir, err)
	}
	var all []string
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, group := range file.Comments {
			all = append(all, text(group))
		}
	}
	return strings.Join(all, " | ")
}

func text(group *ast.CommentGroup) string { return words(group.Text()) }

// words are separated by one space each.
func words(text string) string { return strings.Join(strings.Fields(text), " ") }
