package config

import (
	"os"
	"regexp"
	"slices"
	"testing"
)

// TestMakeExportsWhatIsKnown: no command warns of a variable that make gives to the tests.
func TestMakeExportsWhatIsKnown(t *testing.T) {
	text, err := os.ReadFile("../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	exported := regexp.MustCompile(`(?m)^export (UNDERSTUDY_[A-Z_]+)`).FindAllSubmatch(text, -1)
	if len(exported) < 5 {
		t.Errorf("%d variables are exported; are they written otherwise now?", len(exported))
	}
	for _, one := range exported {
		if !slices.Contains(ignored, string(one[1])) {
			t.Errorf("%s is exported, and every command warns of it", one[1])
		}
	}
}
