package state_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/understudy-ha/understudy/backends/memory"
	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/lock"
	"github.com/understudy-ha/understudy/state"
)

// A registry is the state: which worker does which job.
type registry struct{ Jobs map[string]string }

func newRegistry() *registry { return &registry{map[string]string{}} }

// Apply takes "JOB WORKER".
func (r *registry) Apply(command []byte) {
	job, worker, _ := strings.Cut(string(command), " ")
	r.Jobs[job] = worker
}

func (r *registry) Snapshot(w io.Writer) error { return json.NewEncoder(w).Encode(r) }
func (r *registry) Restore(from io.Reader) error {
	return json.NewDecoder(from).Decode(r)
}

// The second process finds what the first had acknowledged.
func Example() {
	store := memory.New()
	for _, id := range []string{"a", "b"} {
		if err := run(store.Open(), id); err != nil {
			fmt.Println(err)
		}
	}
	// Output:
	// a: map[]
	// b: map[import:worker-of-a]
}

func run(locker lock.Locker, id string) error {
	defer locker.Close()
	ctx := context.Background()
	log, err := state.Open(ctx, locker, "jobs", newRegistry, state.Options{})
	if err != nil {
		return err
	}
	work := func(ctx context.Context, t coordinator.Term) error {
		if _, err := log.Read(func(r *registry) { fmt.Println(id+":", r.Jobs) }); err != nil {
			return err
		}
		return log.Append(ctx, t, []byte("import worker-of-"+id))
	}
	config := coordinator.Config{ID: id, Roles: []lock.Bid{{Role: "jobs"}}, Standby: log.Standby, Ready: log.Ready}
	return coordinator.Run(ctx, locker, config, log.Work(work))
}
