package backends

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/lock"
)

func TestUnknownBackend(t *testing.T) {
	if _, err := Open(context.Background(), Config{Backend: "zookeeper"}); err == nil || !strings.Contains(err.Error(), "use one of raft, etcd, consul, postgres, kubernetes, nats, s3, memory") {
		t.Errorf("want an error with the names, got %v", err)
	}
	if err := (Config{Backend: "zookeeper"}).Row().Validate(Config{Backend: "zookeeper"}); err == nil {
		t.Error("Validate accepts it")
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

// TestAdd puts a row into the table, in which nothing but what opens it is said.
func TestAdd(t *testing.T) {
	type settings struct{ Path string }
	before := table
	defer func() { table = before }()
	Add(Store{
		Name:     "file",
		Settings: func(c *Config) any { return SettingsOf[settings](c, "file") },
		Open: func(_ context.Context, c Config) (lock.Locker, error) {
			return nil, errors.New("opened " + SettingsOf[settings](&c, "file").Path)
		},
	})
	c := Config{Backend: "file"}
	SettingsOf[settings](&c, "file").Path = "here"
	if err := c.Row().ValidateDial(c); err != nil || c.Row().Alone(c) != "" {
		t.Errorf("%v, %q", err, c.Row().Alone(c))
	}
	if _, err := Open(t.Context(), c); err == nil || err.Error() != "opened here" {
		t.Error(err)
	}
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Beside(t.Context(), text); err == nil || err.Error() != "opened here" {
		t.Errorf("by its JSON: %v", err)
	}
	defer func() {
		if recover() == nil {
			t.Error("a name is taken twice")
		}
	}()
	Add(Store{Name: "file"})
}
