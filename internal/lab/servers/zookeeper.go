package servers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// StartZooKeeper starts n ZooKeeper servers (1 or 3) with their data in dir, and returns when all answer.
func StartZooKeeper(ctx context.Context, dir string, n int, o Options) (*Cluster, error) {
	classes, err := Path("zookeeper")
	if err != nil {
		return nil, err
	}
	java, err := exec.LookPath("java")
	if err != nil {
		return nil, fmt.Errorf("start ZooKeeper: %w; on Debian: apt-get install -y zookeeper", err)
	}
	members, err := start(ctx, dir, func(dir string) ([]*Member, error) { return zooKeepers(java, classes, dir, n, o) })
	if err != nil {
		return nil, fmt.Errorf("start ZooKeeper: %w", err)
	}
	return &Cluster{Members: members, leads: func(ctx context.Context, m *Member) (bool, error) {
		mode, err := zooKeeperMode(ctx, m)
		return mode == "leader" || mode == "standalone", err
	}}, nil
}

func zooKeepers(java, classes, dir string, n int, o Options) (members []*Member, err error) {
	free, err := Ports(3 * n)
	if err != nil {
		return nil, err
	}
	var peers string
	for i := range n {
		if n > 1 {
			peers += fmt.Sprintf("server.%d=127.0.0.1:%d:%d\n", i+1, free[3*i+1], free[3*i+2])
		}
	}
	for i := range n {
		name := fmt.Sprintf("m%d", i)
		m := &Member{
			name: name, path: java, addr: fmt.Sprintf("127.0.0.1:%d", free[3*i]), data: filepath.Join(dir, name), log: filepath.Join(dir, name+".log"),
			up: func(ctx context.Context, m *Member) error { _, err := zooKeeperMode(ctx, m); return err },
		}
		file := filepath.Join(dir, name+".cfg")
		m.args = append([]string{"-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", classes, "org.apache.zookeeper.server.quorum.QuorumPeerMain", file}, o.Args...)
		text := fmt.Sprintf("tickTime=1000\ninitLimit=10\nsyncLimit=5\ndataDir=%s\nclientPort=%d\nclientPortAddress=127.0.0.1\n"+
			"admin.enableServer=false\nmaxClientCnxns=0\n4lw.commands.whitelist=srvr\n%s%s", m.data, free[3*i], peers, o.Config)
		err = errors.Join(err, os.MkdirAll(m.data, 0o700), os.WriteFile(file, []byte(text), 0o600),
			os.WriteFile(filepath.Join(m.data, "myid"), fmt.Appendln(nil, i+1), 0o600))
		members = append(members, m)
	}
	return members, err
}

// zooKeeperMode is what a server says that it is: leader, follower or standalone. One that serves nobody says nothing.
func zooKeeperMode(ctx context.Context, m *Member) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	c, err := new(net.Dialer).DialContext(ctx, "tcp", m.addr)
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close() }()
	until, _ := ctx.Deadline()
	_, err = io.WriteString(c, "srvr")
	err = errors.Join(c.SetDeadline(until), err)
	said, readErr := io.ReadAll(c)
	for line := range strings.Lines(string(said)) {
		if mode, ok := strings.CutPrefix(line, "Mode: "); ok {
			return strings.TrimSpace(mode), nil
		}
	}
	return "", cmp.Or(errors.Join(err, readErr), fmt.Errorf("it says %q", strings.TrimSpace(string(said))))
}

// zooKeeperPath finds the server's classes.
func zooKeeperPath() (string, error) {
	classes := cmp.Or(os.Getenv("UNDERSTUDY_ZOOKEEPER"), "/usr/share/java/zookeeper.jar")
	if _, err := os.Stat(classes); err != nil {
		return "", fmt.Errorf("no ZooKeeper is found (%w); on Debian: apt-get install -y zookeeper, elsewhere set UNDERSTUDY_ZOOKEEPER to zookeeper.jar", err)
	}
	return classes, nil
}
