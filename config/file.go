package config

import (
	"bytes"
	"cmp"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/understudy-ha/understudy/internal/clientconf"
)

// A file is a file of settings while it is read. It keeps the lines, and reports everything that
// is wrong.
type file struct {
	path  string
	keys  map[string]Key
	lines map[string]int // of the keys that are there
	roles *yaml.Node     // nil: none
	bads  []bad

	broken map[string]int // the lines of keys that are there, and have no value that could be read
}

// A bad is a mistake, and its line.
type bad struct {
	line int
	err  error
}

// at is a line of the file, for people. Without a file, it is the text of one setting.
func (f *file) at(line int) string { return fmt.Sprintf("%s:%d", f.path, line) }

func (f *file) bad(line int, name, format string, args ...any) {
	f.bads = append(f.bads, bad{line, fmt.Errorf("%s: %s: "+format, append([]any{f.at(line), name}, args...)...)})
}

// parse returns the values by key, or why there are none. Other mistakes are noted in f, and left out.
func (f *file) parse(text []byte) (map[string][]string, error) {
	f.lines = map[string]int{}
	flat := map[string][]string{}
	var doc yaml.Node
	d := yaml.NewDecoder(bytes.NewReader(text))
	err := d.Decode(&doc)
	switch more := d.Decode(new(yaml.Node)); {
	case errors.Is(err, io.EOF): // only comments
	case err != nil:
		return nil, fmt.Errorf("%s: %s%s", f.path, syntax.ReplaceAllString(err.Error(), "$1"), tab(text))
	case !errors.Is(more, io.EOF):
		return nil, fmt.Errorf("%s: holds more than one document; write one", f.path)
	case len(doc.Content) == 1:
		if top := doc.Content[0]; top.Kind != yaml.MappingNode && top.Tag != "!!null" {
			return nil, fmt.Errorf("%s: the file: %s", f.at(top.Line), noSection)
		}
		f.section("", doc.Content[0], flat)
	}
	f.checkSecrets(flat)
	return flat, nil
}

// syntax is what the parser puts before its message.
var syntax = regexp.MustCompile(`^yaml: (line [0-9]+: )?`)

// tab names a line that begins with a tab, which YAML does not accept as a blank.
func tab(text []byte) string {
	n := 0
	for line := range bytes.Lines(text) {
		if n++; bytes.HasPrefix(bytes.TrimLeft(line, " "), []byte("\t")) {
			return fmt.Sprintf("; line %d is indented by a tab: write blanks", n)
		}
	}
	return ""
}

const noSection = "must be a section, KEY: VALUE on each line"

// section takes in the keys below a name.
func (f *file) section(name string, n *yaml.Node, into map[string][]string) {
	if n.Kind != yaml.MappingNode {
		if n.Tag != "!!null" {
			f.bad(n.Line, cmp.Or(name, "the file"), noSection)
			for key := range f.keys {
				if strings.HasPrefix(key, name+".") {
					f.broken[key] = n.Line
				}
			}
		}
		return
	}
	for i := 0; i < len(n.Content); i += 2 {
		key, v := n.Content[i], resolve(n.Content[i+1])
		path := strings.TrimPrefix(name+"."+key.Value, ".")
		k, known := f.keys[path]
		switch {
		case known && f.lines[path] != 0:
			f.bad(key.Line, path, "is given twice, in line %d too", f.lines[path])
		case known:
			f.lines[path] = key.Line
			if parts, ok := f.value(k, path, v); ok {
				into[path] = parts
			} else {
				f.broken[path] = key.Line
			}
		case f.isSection(path):
			f.section(path, v, into)
		default:
			f.bad(key.Line, path, "%s", f.unknown(path))
		}
	}
}

// resolve is what an alias stands for.
func resolve(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// unknown says what is wrong with a key that there is not here.
func (f *file) unknown(path string) string {
	process := file{keys: index()}
	switch _, known := process.keys[path]; {
	case !known && !process.isSection(path):
		return "there is no such key" + f.meant(path)
	case path == "role":
		return "names the only role of a process; in a list of roles write name: NAME"
	default: // it is not known here, so this is a role
		return "belongs to the process, not to one of its roles; write it at the top level of the file, beside roles"
	}
}

// meant suggests the key or section that may have been meant.
func (f *file) meant(path string) string {
	known := f.names()
	for _, name := range f.names() {
		if section, _, _ := strings.Cut(name, "."); !slices.Contains(known, section) {
			known = append(known, section)
		}
	}
	return DidYouMean(path, known)
}

func (f *file) isSection(path string) bool {
	return slices.ContainsFunc(f.names(), func(name string) bool { return strings.HasPrefix(name, path+".") })
}

func (f *file) names() (all []string) {
	for name := range f.keys {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

// value is a key's value in a node.
func (f *file) value(k Key, path string, n *yaml.Node) (parts []string, ok bool) {
	kind := k.Type()
	switch {
	case n.Tag == "!!null":
		f.bad(n.Line, path, "is empty; write a value, or leave the key out")
		return nil, false
	case kind == "roles":
		f.roles = n
		return []string{flow(n)}, true
	case n.Kind == yaml.ScalarNode && path == "command":
		return []string{"/bin/sh", "-c", n.Value}, n.Value != ""
	case n.Kind == yaml.ScalarNode:
		return []string{n.Value}, true
	case n.Kind == yaml.SequenceNode && (kind == "list" || kind == "map"):
		for _, one := range n.Content {
			if one = resolve(one); one.Kind != yaml.ScalarNode {
				f.bad(one.Line, path, "must be a list of plain values")
				return nil, false
			}
			parts = append(parts, one.Value)
		}
		return parts, true
	case n.Kind == yaml.MappingNode && kind == "map":
		for i := 0; i < len(n.Content); i += 2 {
			v := resolve(n.Content[i+1])
			if v.Kind != yaml.ScalarNode || v.Tag == "!!null" {
				f.bad(v.Line, path, "%s must be a plain value", n.Content[i].Value)
				return nil, false
			}
			parts = append(parts, quote(n.Content[i].Value+"="+v.Value))
		}
		return parts, true
	}
	f.bad(n.Line, path, "must be %s, and is %s", wants[kind], is[n.Kind])
	return nil, false
}

var wants = map[string]string{
	"string": "a text", "bool": "true or false", "int": "a whole number", "duration": "a duration, such as 15s",
	"list": "a list", "map": "KEY: VALUE on each line",
}

var is = map[yaml.Kind]string{yaml.MappingNode: "a section", yaml.SequenceNode: "a list", yaml.ScalarNode: "a plain value"}

// scalar is a text as it is written in a file: quoted if it must be.
func scalar(text string) string {
	var as struct{ K yaml.Node }
	err := yaml.Unmarshal([]byte("k: "+text), &as)
	if text == "" || err == nil && as.K.Kind == yaml.ScalarNode && as.K.Value == text && as.K.LineComment == "" {
		return text
	}
	return strconv.Quote(text)
}

// flow is a node in one line.
func flow(n *yaml.Node) string {
	one := *n
	one.Style = yaml.FlowStyle
	text, err := yaml.Marshal(&one)
	if err != nil {
		return n.Value
	}
	return strings.Join(strings.Fields(string(text)), " ")
}

// quote keeps the commas within an entry of a list apart from those between entries.
func quote(entry string) string {
	if !strings.ContainsAny(entry, ",\"\r\n") {
		return entry
	}
	var b strings.Builder
	w := csv.NewWriter(&b)
	_ = w.Write([]string{entry}) // a strings.Builder takes all
	w.Flush()
	return strings.TrimRight(b.String(), "\n")
}

// checkSecrets refuses a file with secrets that others may read.
func (f *file) checkSecrets(flat map[string][]string) {
	info, err := os.Stat(f.path)
	if err != nil {
		return
	}
	if err = clientconf.Private(f.path, info); err == nil {
		return
	}
	for _, name := range f.names() {
		if _, there := flat[name]; there && f.keys[name].Secret {
			f.bad(f.lines[name], name, "%w", err)
		}
	}
}
