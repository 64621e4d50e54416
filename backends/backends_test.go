package backends

import (
	"context"
	"strings"
	"testing"
)

func TestUnknownBackendSuggestsOne(t *testing.T) {
	for name, want := range map[string]string{"rafft": `did you mean "raft"?`, "Memroy": `did you mean "memory"?`, "zookeeper": "use one of raft, memory"} {
		if _, err := Open(context.Background(), Config{Backend: name}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: want an error with %q, got %v", name, want, err)
		}
	}
	for _, name := range Names() {
		if err := Check(name); err != nil {
			t.Error(err)
		}
	}
}

func TestOpenMemory(t *testing.T) {
	l, err := Dial(context.Background(), Config{Backend: "memory"})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}
