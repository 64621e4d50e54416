package object

import (
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
)

// TestTheObjectIsDocumented: docs/records.md names every field of what is kept, and its bounds.
func TestTheObjectIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/records.md")
	if err != nil {
		t.Fatal(err)
	}
	_, page, _ := strings.Cut(string(text), "## In one object")
	want := []string{
		fmt.Sprintf("the last %d writes", writes), fmt.Sprintf("about %d KiB are kept", endBytes>>10),
		fmt.Sprintf("about %d KiB in all", eventBytes>>10), fmt.Sprintf("`Format` | %d;", Format), "`Store` | `" + ours + "`",
	}
	for _, of := range []reflect.Type{reflect.TypeFor[record](), reflect.TypeFor[write]()} {
		for i := range of.NumField() {
			want = append(want, "`"+of.Field(i).Name+"`")
		}
	}
	for _, one := range want {
		if !strings.Contains(page, one) {
			t.Errorf("docs/records.md lacks %s", one)
		}
	}
}
