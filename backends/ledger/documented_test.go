package ledger_test

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/backends/ledger"
)

// TestTheLedgerIsDocumented: docs/records.md names every field of what is kept.
func TestTheLedgerIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/records.md")
	if err != nil {
		t.Fatal(err)
	}
	_, page, _ := strings.Cut(string(text), "## In embedded Raft")
	for _, of := range []reflect.Type{reflect.TypeFor[ledger.Ledger](), reflect.TypeFor[ledger.Command](), reflect.TypeFor[ledger.Session](), reflect.TypeFor[ledger.Role]()} {
		for i := range of.NumField() {
			if name := of.Field(i).Name; !strings.Contains(page, "`"+name+"`") {
				t.Errorf("docs/records.md lacks field %s of %s", name, of)
			}
		}
	}
}
