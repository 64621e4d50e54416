package docs

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestFaults expects every fault on its page to name a test that there is.
func TestFaults(t *testing.T) {
	var tests bytes.Buffer
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		tests.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("faults.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(line, " | ")
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| what a user saw") {
			continue
		}
		rows++
		names := regexp.MustCompile(`Test\w+`).FindAllString(cells[len(cells)-1], -1)
		if len(cells) != 4 || len(names) == 0 {
			t.Errorf("no test is named: %s", line)
		}
		for _, name := range names {
			if !bytes.Contains(tests.Bytes(), []byte("\nfunc "+name+"(t *testing.T)")) {
				t.Errorf("there is no %s: %s", name, line)
			}
		}
	}
	if rows < 30 {
		t.Errorf("%d rows: the page is not read as it stands", rows)
	}
}
