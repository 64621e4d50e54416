package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/internal/lab"
)

// elsewhere are the messages that a variable holds where they are logged, by its name.
var elsewhere = map[string][]string{
	"one.what": {"the store does not answer", "the roles cannot be watched", "not registered yet; trying again", "the store refuses a call", "the health check hangs"},
	"text":     {"the group has lost its majority", "two voters survive no failure: ", "4 voters survive no more failures than 3 do: 1"},
	"err":      {"the command did not start: "},
}

// TestTroubleshooting: the page has every warning and every error that the log can say, and whatever
// it quotes is in the code.
func TestTroubleshooting(t *testing.T) {
	text, err := os.ReadFile("troubleshooting.md")
	lab.Must(t, err)
	rows := quoted(string(text))
	all, said := literals(t)
	for message, at := range said {
		if !slices.ContainsFunc(rows, func(row string) bool { return fits(row, message) }) {
			t.Errorf("%s: troubleshooting.md does not have %q", at, message)
		}
	}
	if len(said) < 50 {
		t.Errorf("%d messages were found: the code is not read as it is written", len(said))
	}
	for _, row := range rows {
		for part := range strings.SplitSeq(row, "...") {
			if part = strings.TrimSpace(part); !slices.ContainsFunc(all, func(one string) bool { return strings.Contains(one, part) }) {
				t.Errorf("troubleshooting.md quotes %q, and no code says %q", row, part)
			}
		}
	}
}

// TestTroubleshootingReasons: the page has every reason of a transition that is a text of its own.
func TestTroubleshootingReasons(t *testing.T) {
	text, err := os.ReadFile("troubleshooting.md")
	lab.Must(t, err)
	rows, n := quoted(string(text)), 0
	for _, name := range []string{"cause.go", "view.go"} {
		code, err := os.ReadFile("../coordinator/internal/machine/" + name)
		lab.Must(t, err)
		for _, m := range regexp.MustCompile(`(?:return |errors\.New\()"([a-z][^"]+ [^"]+|starting|granted)"`).FindAllStringSubmatch(string(code), -1) {
			if n++; !slices.Contains(rows, m[1]) {
				t.Errorf("troubleshooting.md does not have the reason %q of %s", m[1], name)
			}
		}
	}
	if n < 18 {
		t.Errorf("%d reasons were found: the code is not read as it is written", n)
	}
}

// TestTroubleshootingMisses: a message that the page lacks is noticed.
func TestTroubleshootingMisses(t *testing.T) {
	for _, c := range []struct {
		row, message string
		fits         bool
	}{
		{"the store does not answer", "the store does not answer", true},
		{"the store does not answer", "the store answers", false},
		{"the store does not answer", "the store does not answer any more", false},
		{"the command is killed: ...", "the command is killed: ", true},
		{"cannot ...", "cannot ", true},
		{"cannot ...", "the command cannot be killed", false},
	} {
		if got := fits(c.row, c.message); got != c.fits {
			t.Errorf("%q is quoted as %q: %t", c.message, c.row, got)
		}
	}
}

// fits reports whether a row is about a message, of which the code may know only the beginning.
func fits(row, message string) bool {
	pattern := strings.ReplaceAll(regexp.QuoteMeta(row), `\.\.\.`, `.*`)
	return regexp.MustCompile("^" + pattern + "$").MatchString(message)
}

// quoted are the texts in the first cells of a page's tables.
func quoted(page string) (all []string) {
	for line := range strings.Lines(page) {
		cells := strings.Split(line, " | ")
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		for _, one := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cells[0], -1) {
			all = append(all, one[1])
		}
	}
	return all
}

// literals are all texts in the code that runs in production, and those that it logs as a warning
// or an error, each with its place.
func literals(t *testing.T) (all []string, said map[string]string) {
	said = map[string]string{}
	inspect(t, func(c constants, n ast.Node, at string) {
		switch n := n.(type) {
		case *ast.BasicLit, *ast.BinaryExpr:
			all = append(all, c.text(n.(ast.Expr)))
		case *ast.CallExpr:
			if how, ok := n.Fun.(*ast.SelectorExpr); ok && how.Sel.Name == "cannot" {
				all = append(all, "cannot "+c.text(n.Args[0]))
			}
			for _, message := range c.warned(n) {
				said[message] = at
			}
		}
	})
	return all, said
}

// inspect calls visit for each node of the code that runs in production, with its package's constants and its place.
func inspect(t *testing.T, visit func(c constants, n ast.Node, at string)) {
	set := token.NewFileSet()
	for _, files := range sources(t, set) {
		c := constants{}
		for _, file := range files {
			ast.Inspect(file, c.note)
		}
		for _, file := range files {
			ast.Inspect(file, func(n ast.Node) bool {
				if n != nil {
					visit(c, n, set.Position(n.Pos()).String())
				}
				return true
			})
		}
	}
}

// sources are the files of what runs in production, by folder.
func sources(t *testing.T, set *token.FileSet) map[string][]*ast.File {
	all := map[string][]*ast.File{}
	for _, root := range []string{"admin", "backends", "cmd/understudy", "config", "coordinator", "internal/asynclog", "internal/certs", "internal/procgroup", "lock"} {
		lab.Must(t, filepath.WalkDir("../"+root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.Contains(path, "kvtest") {
				return err
			}
			file, err := parser.ParseFile(set, path, nil, 0)
			all[filepath.Dir(path)] = append(all[filepath.Dir(path)], file)
			return err
		}))
	}
	return all
}

// constants are the texts of a package that have a name.
type constants map[string]string

func (c constants) note(n ast.Node) bool {
	if spec, ok := n.(*ast.ValueSpec); ok {
		for i, name := range spec.Names {
			if i < len(spec.Values) {
				c[name.Name] = c.text(spec.Values[i])
			}
		}
	}
	return true
}

// text is what is known of a text: of what is put together, the parts that stand in the code.
func (c constants) text(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		return unquote(e)
	case *ast.BinaryExpr:
		return c.text(e.X) + c.text(e.Y)
	case *ast.Ident:
		return c[e.Name]
	}
	return ""
}

// warned are the messages that a call logs as a warning or an error, or at a level that may be one.
func (c constants) warned(call *ast.CallExpr) []string {
	how, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return nil
	}
	to := render(how.X)
	at, logs := map[string]int{"Warn": 0, "Error": 0, "Log": 2, "NewRecord": 2}[how.Sel.Name]
	switch {
	case !logs || !slices.Contains([]string{"log", "slog", "logger", "Logger"}, to[strings.LastIndex(to, ".")+1:]):
		return nil
	case how.Sel.Name == "NewRecord" && render(call.Args[1]) != "slog.LevelWarn":
		return nil
	}
	if of := elsewhere[render(call.Args[at])]; of != nil {
		return of
	}
	return []string{c.text(call.Args[at])}
}

// render is a name in the code: text, f.what, and err for err.Error().
func render(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return render(e.X) + "." + e.Sel.Name
	case *ast.CallExpr:
		return strings.TrimSuffix(render(e.Fun), ".Error")
	}
	return ""
}

func unquote(l *ast.BasicLit) string {
	text, _ := strconv.Unquote(l.Value) // the parser has read it
	return text
}
