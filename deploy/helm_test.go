//go:build helm

package deploy

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/lab"
)

var rollouts = flag.Int("rollouts", 5, "how many rolling updates TestHelm makes")

const chart = "helm/understudy"

// TestHelm installs the chart on a cluster, rolls it, rolls it back, takes a node and the API server away, and
// uninstalls it. Two processes are never at work at once.
func TestHelm(t *testing.T) {
	c := newCluster(t, 3)
	values := filepath.Join(c.dir, "values.yaml")
	lab.Must(t, os.WriteFile(values, []byte(fmt.Sprintf(`
understudy: {image: %s}
coordinators:
  billing:
    image: %s
    command: [/work]
    replicas: 3
    activeStandby: {enabled: true}
    stopTimeoutSeconds: 5
    env: [{name: STAMPS, value: /stamps}]
    volumes: [{name: stamps, hostPath: {path: %s/stamps}}]
    volumeMounts: [{name: stamps, mountPath: /stamps}]
`, c.called("understudy"), c.called("work"), c.dir)), 0o600))
	upgrade := func(args ...string) {
		t.Helper()
		began := time.Now()
		c.do(append([]string{"helm", "upgrade", "--install", "ops", chart, "-f", values, "--wait", "--timeout", "3m"}, args...)...)
		t.Logf("helm %q: %v", args, time.Since(began).Round(time.Millisecond))
	}
	upgrade()
	c.settled(3)
	var gaps []time.Duration
	for n := range *rollouts {
		before := len(c.stamps())
		upgrade("--set-string", fmt.Sprint("coordinators.billing.podAnnotations.round=", n))
		c.settled(3)
		sum, moves := gap(c.stamps(), before)
		t.Logf("rollout %d: %d moves, nobody for %v", n, moves, sum)
		if moves != 1 {
			t.Errorf("rollout %d: the role moved %d times, want once", n, moves)
		}
		gaps = append(gaps, sum)
	}
	slices.Sort(gaps)
	t.Logf("nobody at work in a rollout: median %v, worst %v", gaps[len(gaps)/2], gaps[len(gaps)-1])
	c.do("helm", "rollback", "ops", "1", "--wait", "--timeout", "3m")
	c.settled(3)

	c.withoutAPI(20 * time.Second)
	c.withoutNode()

	c.do("helm", "uninstall", "ops", "--wait", "--timeout", "3m")
	if left := c.do("kubectl", "get", "all,role,rolebinding,serviceaccount,pdb", "-l", "app.kubernetes.io/instance=ops", "-o", "name"); left != "" {
		t.Errorf("after uninstall there is\n%s", left)
	}
	c.stamps()
}

// settled waits until so many pods are there and ready, and none ends.
func (c *cluster) settled(pods int) {
	c.t.Helper()
	lab.Eventually(c.t, "pods that are ready", func() bool {
		out := c.do("kubectl", "get", "pods", "-l", "app.kubernetes.io/instance=ops", "-o", `jsonpath={range .items[*]}{.metadata.deletionTimestamp}{.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}`)
		return out == strings.TrimSpace(strings.Repeat("True\n", pods))
	})
}

// works is who works now, by its stamps.
func (c *cluster) works() worked {
	all := c.stamps()
	return all[len(all)-1]
}

// withoutAPI takes the API server away for longer than the ttl: nobody works at the end, and somebody works after it.
func (c *cluster) withoutAPI(d time.Duration) {
	c.t.Helper()
	before := c.works()
	c.api().Kill()
	time.Sleep(d) // that is the outage
	lab.Must(c.t, c.api().Restart(lab.Within(c.t, lab.Patience)))
	lab.Eventually(c.t, "another term after the API server was away", func() bool { return c.works().token > before.token })
	now := c.works()
	c.t.Logf("API server away for %v: nobody worked for %v; token %d after %d", d, now.first-before.last, now.token, before.token)
	c.settled(3)
}

// withoutNode kills the node of who works, with all its containers.
func (c *cluster) withoutNode() {
	c.t.Helper()
	before := c.works()
	node := c.do("kubectl", "get", "pod", before.id, "-o", "jsonpath={.spec.nodeName}")
	c.killNode(node)
	lab.Eventually(c.t, "another term after the node died", func() bool { return c.works().token > before.token })
	now := c.works()
	c.t.Logf("%s died: nobody worked for %v; token %d after %d", node, now.first-before.last, now.token, before.token)
	c.startNode(node)
	c.settled(3)
}
