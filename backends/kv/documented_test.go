package kv

import (
	"os"
	"reflect"
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
	for _, key := range []string{k.identity(), k.name("IDENTITY"), k.role("ROLE"), k.wish("ROLE"), k.pause("ROLE"), k.setting("CONTENDER"), k.history("ROLE"), k.floor(), k.end("SESSION"), k.session("SESSION"), k.claim("CONTENDER"), k.value("KEY")} {
		if !strings.Contains(page, "**`"+key+"`**") {
			t.Errorf("docs/records.md lacks the key %s", key)
		}
	}
	for _, record := range []any{roleRecord{}, sessionRecord{}, claimRecord{}, endRecord{}, wishRecord{}, pauseRecord{}, settingsRecord{}, historyRecord{}, floorRecord{}, identityRecord{}, nameRecord{}, valueHeader{}} {
		eachField(reflect.TypeOf(record), func(of reflect.Type, name string) {
			if !strings.Contains(page, "`"+name+"`") {
				t.Errorf("docs/records.md lacks field %s of %s", name, of)
			}
		})
	}
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
