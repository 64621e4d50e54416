package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/internal/lab"
)

// newcomers are the pages that somebody reads before anything works: the most words that each may have.
var newcomers = map[string]int{"quickstart.md": 350, "concepts.md": 600, "choosing.md": 700, "loadbalancer.md": 600, "platforms.md": 600, "README.md": 350}

// TestLinks: whatever a page links to is there, with the heading that is meant; every page is in the
// index; and those for newcomers stay short.
func TestLinks(t *testing.T) {
	pages, _ := filepath.Glob("*.md")
	index, err := os.ReadFile("README.md")
	lab.Must(t, err)
	for _, name := range append(pages, "../README.md", "../CONTRIBUTING.md") {
		text, err := os.ReadFile(name)
		lab.Must(t, err)
		for _, link := range regexp.MustCompile(`\]\(([^)\s]+)\)`).FindAllStringSubmatch(string(text), -1) {
			if !strings.Contains(link[1], "://") && !leads(name, link[1]) {
				t.Errorf("%s: %s leads nowhere", name, link[1])
			}
		}
		if !strings.Contains(name, "/") && name != "README.md" && !strings.Contains(string(index), "("+name+")") {
			t.Errorf("%s is not in the index, README.md", name)
		}
		if most, ok := newcomers[name]; ok && len(strings.Fields(string(text))) > most {
			t.Errorf("%s has %d words, the limit is %d", name, len(strings.Fields(string(text))), most)
		}
	}
}

// leads reports whether a link of a page leads to a file, and to a heading of it.
func leads(from, link string) bool {
	file, heading, _ := strings.Cut(link, "#")
	path := filepath.Join(filepath.Dir(from), file)
	if file == "" {
		path = from
	}
	text, err := os.ReadFile(path)
	if err != nil {
		_, err = os.Stat(path) // a folder
		return err == nil && heading == ""
	}
	if heading == "" {
		return true
	}
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(string(text), -1) {
		anchor := strings.ReplaceAll(strings.ToLower(m[1]), " ", "-")
		if regexp.MustCompile(`[^a-z0-9_-]`).ReplaceAllString(anchor, "") == heading {
			return true
		}
	}
	return false
}
