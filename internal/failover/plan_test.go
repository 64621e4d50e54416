package failover

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestRoomIsChecked plans more than any machine has, of memory and then of descriptors.
func TestRoomIsChecked(t *testing.T) {
	huge := Plan{Backends: slices.Repeat([]Backend{{Name: "etcd"}}, 10_000), TTL: time.Second}
	wantRoom(t, huge, "memory: ", "MiB are free", "measure fewer stores")

	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit) })
	few := limit
	few.Cur = 200
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	small := Plan{Backends: []Backend{{Name: "raft", Inside: true}}, TTL: time.Second}
	wantRoom(t, small, fmt.Sprintf("descriptors: 200 are allowed, this plan takes about %d", contenders*descriptors), "ulimit -n")
}

func wantRoom(t *testing.T, p Plan, words ...string) {
	t.Helper()
	err := fmt.Sprint(p.CheckRoom())
	for _, w := range words {
		if !strings.Contains(err, w) {
			t.Errorf("%q is not said: %s", w, err)
		}
	}
}
