package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestAllStopped stops all that belongs to an active, as the pause of a container does, until others have its roles, and then
// has all of it go on: the wrapper ends, and nothing of the commands is left, also what has left their groups.
func TestAllStopped(t *testing.T) {
	t.Parallel()
	r := newTrio(t, onEtcd)
	r.ttl = 4 * time.Second
	var file strings.Builder
	fmt.Fprintf(&file, "backend: etcd\nttl: 4s\nonExit: restart\netcd:\n  endpoints: %q\nroles:\n", r.store.Etcd.Endpoints)
	for i := range 6 {
		fmt.Fprintf(&file, "- name: r%d\n  command: \"for i in 1 2 3; do setsid sleep 1000 & done; wait\"\n", i)
	}
	path := filepath.Join(r.dir, "roles.yaml")
	must(t, os.WriteFile(path, []byte(file.String()), 0o600))
	run := func(id string) { r.launch(id, "run", "--config", path, "--id", id) }
	run("a")
	for round := range 4 {
		now, next := r.ids[round%2], r.ids[(round+1)%2]
		wrapper := r.procs[now].Process.Pid
		r.eventually(now+" works", func() bool { return len(r.below(wrapper)) == 1+6*(1+1+3) }) // a witness; inits, shells, sleeps
		run(next)
		r.logged(next, "msg=transition role=r5 id="+next+" from=registering to=standby")
		all := append(r.below(wrapper), wrapper)
		for _, pid := range all {
			r.send(pid, syscall.SIGSTOP)
		}
		successor := r.procs[next].Process.Pid
		r.eventually(next+" works", func() bool { return len(r.below(successor)) == 1+6*(1+1+3) })
		rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		for _, pid := range all {
			r.send(pid, syscall.SIGCONT)
		}
		r.ended(now)
		r.eventually(now+"'s log says why it ended", func() bool {
			return strings.Count(r.log(now), "process killed")+strings.Count(r.log(now), "it ends itself then") > round/2
		})
		r.eventually("nothing is left of "+now, func() bool {
			return !slices.ContainsFunc(all, func(pid int) bool { state, _ := r.state(pid); return state != "" && state != "Z" })
		})
	}
}
