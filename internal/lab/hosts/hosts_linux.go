// Package hosts gives the processes of a test machines of their own, as far as the network goes: each host is a
// network namespace with an address of its own, and the test is the router between them. What is cut there is lost
// without a word, as on a network whose cable is out: no connection is reset, and TCP repeats what nobody hears.
//
// It takes iproute2 and util-linux, and a test that runs in a network namespace of its own:
//
//	go test -exec 'unshare --net'
package hosts

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/internal/lab/process"
)

// A Network is a number of hosts. Its methods fail the test where the system refuses something.
type Network struct {
	t     testing.TB
	hosts map[string]*host
	cuts  [][2]string // the addresses, from and to
}

type host struct {
	address string
	keeper  *process.Process // the namespace is there as long as it is
}

// networks counts the networks of this process, so that no two use the same addresses.
var networks atomic.Int32

// Start starts hosts by their names. They end with the test, and so does every process on them.
func Start(t testing.TB, names ...string) *Network {
	t.Helper()
	n := &Network{t: t, hosts: map[string]*host{}}
	if n.space(os.Getpid()) == n.space(os.Getppid()) {
		t.Fatal("this test lays a network, and must run in a network namespace of its own: go test -exec 'unshare --net', or, as another user than root, -exec 'unshare --net --map-root-user'")
	}
	number := networks.Add(1)
	n.run("ip", "link", "set", "lo", "up")
	lab.Must(t, os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o600))
	for i, name := range names {
		keeper, err := process.Start(exec.Command("unshare", "--net", "sleep", "infinity"), nil)
		lab.Must(t, err)
		h := &host{address: fmt.Sprintf("10.%d.%d.1", number, i), keeper: keeper}
		n.hosts[name] = h
		t.Cleanup(func() {
			n.Off(name)
			keeper.End(syscall.SIGKILL, 0)
		})
		lab.Eventually(t, "a namespace of "+name, func() bool { return n.space(keeper.PID()) != n.space(os.Getpid()) })
		device, router := fmt.Sprintf("host%d.%d", number, i), fmt.Sprintf("10.%d.%d.254", number, i)
		n.run("ip", "link", "add", device, "type", "veth", "peer", "name", "eth0", "netns", strconv.Itoa(keeper.PID()))
		n.run("ip", "address", "add", router+"/24", "dev", device)
		n.run("ip", "link", "set", device, "up")
		n.run(append(n.On(name), "sh", "-c", fmt.Sprintf("ip link set lo up && ip address add %s/24 dev eth0 && ip link set eth0 up && ip route add default via %s", h.address, router))...)
	}
	t.Cleanup(n.Heal)
	return n
}

// Address is that of a host.
func (n *Network) Address(name string) string { return n.hosts[name].address }

// On is what begins a command line that is run on a host.
func (n *Network) On(name string) []string {
	return []string{"nsenter", fmt.Sprintf("--net=/proc/%d/ns/net", n.hosts[name].keeper.PID())}
}

// Cut loses what one host sends to another, until Heal.
func (n *Network) Cut(from, to string) {
	n.t.Helper()
	cut := [2]string{n.Address(from), n.Address(to)}
	n.run("ip", "rule", "add", "from", cut[0], "to", cut[1], "blackhole")
	n.cuts = append(n.cuts, cut)
}

// Heal ends every cut.
func (n *Network) Heal() {
	n.t.Helper()
	for _, cut := range n.cuts {
		n.run("ip", "rule", "delete", "from", cut[0], "to", cut[1], "blackhole")
	}
	n.cuts = nil
}

// Off takes a host's power away: every process on it is killed, and none has a last word.
func (n *Network) Off(name string) {
	n.t.Helper()
	n.Freeze(name)
	lab.Eventually(n.t, "an end of all processes of "+name, func() bool { return len(n.send(name, syscall.SIGKILL)) == 0 })
}

// Freeze stops every process on a host, as a machine is paused.
func (n *Network) Freeze(name string) { n.send(name, syscall.SIGSTOP) }

// Thaw has a host go on after Freeze.
func (n *Network) Thaw(name string) { n.send(name, syscall.SIGCONT) }

// send sends a signal to every process on a host, and returns who they were.
func (n *Network) send(name string, signal syscall.Signal) (pids []int) {
	keeper := n.hosts[name].keeper.PID()
	names, err := filepath.Glob("/proc/[0-9]*")
	lab.Must(n.t, err)
	for _, dir := range names {
		pid, _ := strconv.Atoi(filepath.Base(dir))
		if stat, err := os.ReadFile(dir + "/stat"); pid != keeper && err == nil && !strings.Contains(string(stat), ") Z ") && n.space(pid) == n.space(keeper) {
			_ = syscall.Kill(pid, signal) // it may just have ended
			pids = append(pids, pid)
		}
	}
	return pids
}

// space names the network namespace of a process; "": it has ended, or it is none of ours.
func (n *Network) space(pid int) string {
	name, _ := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", pid))
	return name
}

func (n *Network) run(args ...string) {
	n.t.Helper()
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		n.t.Fatalf("%q: %v\n%s", args, err, out)
	}
}
