package understudy

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// What counts as a repeated run, and how many there are. The number only ever falls.
const (
	repeatedLines = 6
	repeatedRuns  = 12
)

// TestRepetition finds runs of lines that stand in two places, imports aside. What is really
// the same is said once.
func TestRepetition(t *testing.T) {
	found := repeats(t, ".")
	for _, r := range found {
		t.Log(r)
	}
	if len(found) != repeatedRuns {
		t.Errorf("%d runs of %d lines or more stand in two places, not %d: say a new one once, and lower the number where one is gone", len(found), repeatedLines, repeatedRuns)
	}
}

// A codeLine is one that is not blank, without what it is indented by.
type codeLine struct {
	text, file string
	number     int
}

// repeats says which runs of lines of the Go files below root stand in two places.
func repeats(t *testing.T, root string) (found []string) {
	var all []codeLine
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(path, ".go") {
			all = append(all, codeLines(t, path)...)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	first := map[string]int{} // where a window of lines stood first
	for i := 0; i+repeatedLines <= len(all); i++ {
		if all[i].file != all[i+repeatedLines-1].file {
			continue
		}
		var window strings.Builder
		for _, l := range all[i : i+repeatedLines] {
			window.WriteString(l.text + "\n")
		}
		at, again := first[window.String()]
		if !again {
			first[window.String()] = i
			continue
		}
		n := repeatedLines
		for i+n < len(all) && all[i+n].text == all[at+n].text && all[i+n].file == all[i].file && all[at+n].file == all[at].file {
			n++
		}
		found = append(found, fmt.Sprintf("%s:%d and %s:%d share %d lines", all[at].file, all[at].number, all[i].file, all[i].number, n))
		i += n - 1
	}
	return found
}

// codeLines are the lines of a file after its imports.
func codeLines(t *testing.T, path string) (lines []codeLine) {
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	files := token.NewFileSet()
	f, err := parser.ParseFile(files, path, text, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	after := files.Position(f.Name.End()).Line
	for _, d := range f.Decls {
		after = max(after, files.Position(d.End()).Line)
	}
	for i, line := range slices.Collect(strings.Lines(string(text))) {
		if line = strings.TrimSpace(line); line != "" && i+1 > after {
			lines = append(lines, codeLine{line, path, i + 1})
		}
	}
	return lines
}
