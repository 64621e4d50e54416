package kv

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestRecordsAreDocumented: docs/records.md names every kind of key and every field.
func TestRecordsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/records.md")
	if err != nil {
		t.Fatal(err)
	}
	page, _, _ := strings.Cut(string(text), "## In embedded Raft")
	k := keys("")
	documented := []string{
		k.identity(), k.name("IDENTITY"), k.role("ROLE"), k.wish("ROLE"), k.pause("ROLE"), k.setting("CONTENDER"), k.history("ROLE"), k.floor(),
		k.end("SESSION"), k.fence("SESSION"), k.session("SESSION"), k.claim("CONTENDER"), k.value("KEY"),
	}
	for _, key := range documented {
		if !strings.Contains(page, "**`"+key+"`**") {
			t.Errorf("docs/records.md lacks the key %s", key)
		}
	}
	var names []string
	all := []any{roleRecord{}, sessionRecord{}, claimRecord{}, endRecord{}, wishRecord{}, pauseRecord{}, fenceRecord{}, settingsRecord{}, historyRecord{}, floorRecord{}, identityRecord{}, nameRecord{}, valueHeader{}}
	for _, record := range all {
		names = append(names, reflect.TypeOf(record).Name())
		eachField(reflect.TypeOf(record), func(of reflect.Type, name string) {
			if !strings.Contains(page, "`"+name+"`") {
				t.Errorf("docs/records.md lacks field %s of %s", name, of)
			}
		})
	}
	begin, records := inCode(t)
	if len(begin) < 10 {
		t.Errorf("no more keys were found in the code than %v", begin)
	}
	for _, key := range begin {
		if !slices.ContainsFunc(documented, func(one string) bool { return strings.HasPrefix(one, key) }) {
			t.Errorf("the code has keys that begin with %s, and this test has none", key)
		}
	}
	slices.Sort(names)
	if !slices.Equal(names, records) {
		t.Errorf("the code has the records %v, and this test %v", records, names)
	}
}

// inCode returns what the keys of this package begin with, and its types with the head of a record, in their order.
func inCode(t *testing.T) (keys, records []string) {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv != nil && fmt.Sprint(f.Recv.List[0].Type) == "keys" {
				keys = append(keys, added(f)...)
			}
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if one, ok := n.(*ast.TypeSpec); ok {
				s, ok := one.Type.(*ast.StructType)
				if ok && len(s.Fields.List) > 0 && len(s.Fields.List[0].Names) == 0 && fmt.Sprint(s.Fields.List[0].Type) == "header" {
					records = append(records, one.Name.Name)
				}
			}
			return true
		})
	}
	slices.Sort(records)
	return keys, records
}

// added are the texts that a function adds to others.
func added(f *ast.FuncDecl) (all []string) {
	ast.Inspect(f, func(n ast.Node) bool {
		if sum, ok := n.(*ast.BinaryExpr); ok && sum.Op == token.ADD {
			if text, ok := sum.Y.(*ast.BasicLit); ok && text.Kind == token.STRING {
				all = append(all, strings.Trim(text.Value, `"`))
			}
		}
		return true
	})
	return all
}

// eachField names what a type's JSON has.
func eachField(of reflect.Type, do func(of reflect.Type, name string)) {
	switch {
	case of.Kind() == reflect.Slice:
		eachField(of.Elem(), do)
	case of.Kind() == reflect.Struct && of != reflect.TypeFor[time.Time]():
		for i := range of.NumField() {
			f := of.Field(i)
			if f.IsExported() && !f.Anonymous {
				do(of, f.Name)
			}
			if f.IsExported() || f.Anonymous {
				eachField(f.Type, do)
			}
		}
	}
}
