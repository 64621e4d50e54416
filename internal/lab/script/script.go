// Package script reads the one text format in which this project's tests write down what
// happens: scenarios with what is expected, traces that a model checker found, and mistakes
// to plant in the code with a trace that shows them.
//
// A file holds, in this order:
//
//	The title, in one line.
//	# Lines for people.
//	options: for whoever runs the trace
//	file: path/of/a/file.go
//	old:
//	the text that a planted mistake takes out
//	new:
//	what it puts in
//	trace:
//	one step a line
//	----
//	what is expected after the steps, up to an empty line
//
// Everything but the title and the trace may be left out, and files and expectations may be
// repeated.
package script

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A Script is one file.
type Script struct {
	Path    string
	Title   string
	Options string
	Hunks   []Hunk
	Trace   []Block

	head string // everything before the trace, as it was read
}

// A Hunk is one change of a planted mistake.
type Hunk struct {
	File     string // its path from the module's root
	Old, New string
}

// A Block is some steps, one a line and among them comments, and what is expected after the
// last. Want is "" where nothing is written down.
type Block struct {
	Lines []string
	Want  string
}

// Steps are the lines that are not comments.
func (b Block) Steps() []string {
	return slices.DeleteFunc(slices.Clone(b.Lines), func(line string) bool { return strings.HasPrefix(line, "#") })
}

const traceMark, wantMark = "\ntrace:\n", "----"

// Read reads the file at path.
func Read(path string) (Script, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return Script{}, err
	}
	head, tail, found := strings.Cut(string(data), traceMark)
	if !found {
		return Script{}, fmt.Errorf("%s: has no trace", path)
	}
	s := Script{Path: path, head: head}
	s.readHead()
	s.Trace = readTrace(tail)
	return s, nil
}

func (s *Script) readHead() {
	var into *string
	for i, line := range strings.Split(s.head, "\n") {
		options, isOptions := strings.CutPrefix(line, "options: ")
		file, isFile := strings.CutPrefix(line, "file: ")
		switch {
		case i == 0:
			s.Title = line
		case isFile:
			s.Hunks = append(s.Hunks, Hunk{File: file})
			into = nil
		case len(s.Hunks) == 0 && isOptions:
			s.Options = options
		case len(s.Hunks) > 0 && line == "old:":
			into = &s.Hunks[len(s.Hunks)-1].Old
		case len(s.Hunks) > 0 && line == "new:":
			into = &s.Hunks[len(s.Hunks)-1].New
		case into != nil:
			*into += line + "\n"
		}
	}
	for i := range s.Hunks {
		s.Hunks[i].Old = strings.TrimSuffix(s.Hunks[i].Old, "\n")
		s.Hunks[i].New = strings.TrimSuffix(s.Hunks[i].New, "\n")
	}
}

func readTrace(text string) (all []Block) {
	var b Block
	expected := false
	for _, line := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		switch {
		case line == wantMark:
			expected = true
		case expected && line != "":
			b.Want += line + "\n"
		case expected:
			all = append(all, b)
			b, expected = Block{}, false
		case line != "":
			b.Lines = append(b.Lines, line)
		}
	}
	if expected || len(b.Lines) > 0 {
		all = append(all, b)
	}
	return all
}

// Steps are those of all blocks.
func (s Script) Steps() (all []string) {
	for _, b := range s.Trace {
		all = append(all, b.Steps()...)
	}
	return all
}

// Write writes the file anew with this trace. What stands before it stays as it was read.
func (s Script) Write(trace []Block) error {
	var b strings.Builder
	b.WriteString(s.head + traceMark)
	for i, one := range trace {
		for _, line := range one.Lines {
			b.WriteString(line + "\n")
		}
		if one.Want == "" {
			continue
		}
		b.WriteString(wantMark + "\n" + one.Want)
		if i < len(trace)-1 {
			b.WriteString("\n")
		}
	}
	return os.WriteFile(s.Path, []byte(b.String()), 0o600)
}

// Plant writes the changed files into dir, and beside them the overlay for `go test
// -overlay` that puts them in the place of those below root. It returns the overlay's path.
func (s Script) Plant(root, dir string) (string, error) {
	texts := map[string]string{}
	for _, h := range s.Hunks {
		file, err := filepath.Abs(filepath.Join(root, h.File))
		if err != nil {
			return "", err
		}
		if texts[file] == "" {
			data, err := os.ReadFile(file)
			if err != nil {
				return "", err
			}
			texts[file] = string(data)
		}
		if n := strings.Count(texts[file], h.Old); n != 1 {
			return "", fmt.Errorf("%s: the old text is in %s %d times", s.Path, h.File, n)
		}
		texts[file] = strings.Replace(texts[file], h.Old, h.New, 1)
	}
	replace := map[string]string{}
	for file, text := range texts {
		changed := filepath.Join(dir, fmt.Sprintf("%d_%s", len(replace), filepath.Base(file)))
		if err := os.WriteFile(changed, []byte(text), 0o600); err != nil {
			return "", err
		}
		replace[file] = changed
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "overlay.json")
	return path, os.WriteFile(path, overlay, 0o600)
}
