package docs

import (
	"go/ast"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/internal/lab"
)

// TestLogKeys: the page's table has each key that a line of ours can have, and no other.
func TestLogKeys(t *testing.T) {
	text, err := os.ReadFile("monitoring.md")
	lab.Must(t, err)
	_, table, found := strings.Cut(string(text), "\n## Keys of the log\n")
	table, _, _ = strings.Cut(table, "\n## ")
	if !found {
		t.Fatal("monitoring.md has no section for the log's keys")
	}
	var listed []string
	for row := range strings.Lines(table) {
		if cells := strings.Split(row, " | "); strings.HasPrefix(row, "| `") {
			for _, key := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(cells[0], -1) {
				listed = append(listed, key[1])
			}
		}
	}
	used := map[string]string{}
	inspect(t, func(c constants, n ast.Node, at string) {
		for _, key := range c.keys(n) {
			used[key] = at
		}
	})
	for key, at := range used {
		if !slices.Contains(listed, key) {
			t.Errorf("%s: monitoring.md's table does not have %q", at, key)
		}
	}
	for _, key := range listed {
		if used[key] == "" {
			t.Errorf("monitoring.md's table has %q, which no line has", key)
		}
	}
}

// isKey is how a key looks.
var isKey = regexp.MustCompile(`^[a-z_]+$`)

// keys are those that stand in a call that logs, in an attribute that one makes, and in a list of attributes.
func (c constants) keys(n ast.Node) (all []string) {
	var args []ast.Expr
	switch n := n.(type) {
	case *ast.CallExpr:
		if render(n.Fun) == "append" {
			args = n.Args[1:]
			break
		}
		how, ok := n.Fun.(*ast.SelectorExpr)
		if !ok {
			return nil
		}
		to := render(how.X)
		to = to[strings.LastIndex(to, ".")+1:]
		from, logs := map[string]int{"Debug": 1, "Info": 1, "Warn": 1, "Error": 1, "Log": 3}[how.Sel.Name]
		switch {
		case how.Sel.Name == "With":
			args = n.Args
		case to == "slog" && slices.Contains([]string{"String", "Uint64", "Int", "Duration", "Any"}, how.Sel.Name):
			return []string{c.text(n.Args[0])}
		case !logs || !slices.Contains([]string{"log", "slog", "logger", "Logger"}, to) || len(n.Args) < from:
			return nil
		}
		if args == nil {
			args = n.Args[from:]
		}
	case *ast.CompositeLit: // []any{"key", value}
		if list, ok := n.Type.(*ast.ArrayType); !ok || render(list.Elt) != "any" {
			return nil
		}
		args = n.Elts
	}
	for i := 0; i < len(args); i++ {
		if key := c.text(args[i]); isKey.MatchString(key) {
			all = append(all, key)
			i++
		}
	}
	return all
}
