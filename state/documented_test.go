package state_test

import (
	"os"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/state/statetest"
)

// TestDocumented expects the code in docs/state.md to be the example's, word for word.
func TestDocumented(t *testing.T) {
	page, err := os.ReadFile("../docs/state.md")
	if err != nil {
		t.Fatal(err)
	}
	code, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(page), "```go\n")[1:]
	if len(blocks) == 0 {
		t.Error("docs/state.md shows no code")
	}
	for _, block := range blocks {
		block, _, _ = strings.Cut(block, "```")
		if !strings.Contains(string(code), block) {
			t.Errorf("docs/state.md shows what is not in example_test.go:\n%s", block)
		}
	}
}

// TestRegistry is how the example's machine is tested.
func TestRegistry(t *testing.T) {
	statetest.Run(t, newRegistry, []byte("a x"), []byte("b y"), []byte("a z"), []byte("c"), nil)
}
