package backends

import (
	"context"
	"strings"
	"testing"
)

func TestUnknownBackend(t *testing.T) {
	if _, err := Open(context.Background(), Config{Backend: "zookeeper"}); err == nil || !strings.Contains(err.Error(), "use one of raft, etcd, consul, memory") {
		t.Errorf("want an error with the names, got %v", err)
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
