//go:build helm

package deploy

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/internal/lab/cluster"
)

var rollouts = flag.Int("rollouts", 5, "how many rolling updates TestHelm makes")

const chart = "helm/understudy"

// TestHelm tries the chart on a cluster: every manifest by a dry run of the API server, then real pods. Two
// processes of one role are never at work at once.
func TestHelm(t *testing.T) {
	c := &site{cluster.Start(t, "..", 3), t}
	c.named("dry run", c.dryRun)
	c.helm("ops", c.values("ops", "replicas: 3"))
	c.settled("ops", 3)
	c.named("rollouts", c.rollouts)
	c.named("rollback", func() {
		c.Do("helm", "rollback", "ops", "1", "--wait", "--timeout", "3m")
		c.settled("ops", 3)
	})
	c.named("service", c.service)
	c.named("crash", c.crash)
	c.named("killed container", c.killContainer)
	c.named("lost API server", func() { c.withoutAPI(20 * time.Second) })
	c.named("lost node", c.withoutNode)
	c.named("uninstall", func() { c.uninstall("ops") })
	c.named("raft", c.raft)
	c.named("client-go", c.elector)
}

// named runs one part, and says how long it took. What comes after it needs it.
func (c *site) named(name string, do func()) {
	c.t.Helper()
	began := time.Now()
	do()
	c.t.Logf("%s: %v", name, time.Since(began).Round(100*time.Millisecond))
}

// values are those of a release whose pods stamp.
func (c *site) values(release, more string) (path string) {
	c.t.Helper()
	path = filepath.Join(c.Dir, release+".yaml")
	lab.Must(c.t, os.WriteFile(path, fmt.Appendf(nil, `
understudy: {image: %s}
coordinators:
  billing:
    image: %s
    command: [/work]
    activeStandby: {enabled: true}
    stopTimeoutSeconds: 5
    ports: {http: 8080}
    env: [{name: STAMPS, value: /stamps}, {name: PORT, value: "8080"}]
    volumes: [{name: stamps, hostPath: {path: %s}}]
    volumeMounts: [{name: stamps, mountPath: /stamps}]
    %s
`, c.Image("understudy"), c.Image("work"), c.stampsOf(release), more), 0o600))
	return path
}

// helm installs a release, or upgrades it.
func (c *site) helm(release, values string, args ...string) {
	c.t.Helper()
	c.Do(append([]string{"helm", "upgrade", "--install", release, chart, "-f", values, "--wait", "--timeout", "3m"}, args...)...)
}

// settled waits until so many pods of a release are there and ready, none ends, and one works.
func (c *site) settled(release string, pods int) {
	c.t.Helper()
	lab.Eventually(c.t, fmt.Sprintf("%d pods of %s that are ready", pods, release), func() bool {
		out := c.Do("kubectl", "get", "pods", "-l", "app.kubernetes.io/instance="+release, "-o",
			`jsonpath={range .items[*]}{.metadata.deletionTimestamp}{.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}`)
		return out == strings.TrimSpace(strings.Repeat("True\n", pods)) && c.works(release).token > 0
	})
}

// dryRun has the API server judge every manifest of every store. The operators' own kinds are there by name alone.
func (c *site) dryRun() {
	for plural, kind := range map[string]string{"certificates.cert-manager.io": "Certificate", "podmonitors.monitoring.coreos.com": "PodMonitor"} {
		name, group, _ := strings.Cut(plural, ".")
		path := filepath.Join(c.Dir, "crd.yaml")
		lab.Must(c.t, os.WriteFile(path, fmt.Appendf(nil, `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: %s}
spec:
  group: %s
  scope: Namespaced
  names: {plural: %s, singular: %s, kind: %s}
  versions:
  - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
`, plural, group, name, strings.ToLower(kind), kind), 0o600))
		c.Do("kubectl", "apply", "-f", path)
		c.Do("kubectl", "wait", "--for=condition=Established", "crd/"+plural, "--timeout=1m")
	}
	for _, name := range plain(c.t) {
		lab.Eventually(c.t, "kinds that kubectl finds", func() bool { // it keeps what it found before for a while
			out, err := c.Try("kubectl", "apply", "--dry-run=server", "-f", "kubernetes/"+name+".yaml")
			if err != nil && !strings.Contains(out, "no matches for kind") {
				c.t.Fatalf("%s: %s", name, out)
			}
			return err == nil
		})
		c.Do("helm", "install", "dry", chart, "-f", "testdata/helm/"+name+".yaml", "--dry-run=server")
	}
}

// rollouts rolls three replicas again and again: the role moves once each time.
func (c *site) rollouts() {
	var gaps []time.Duration
	for n := range *rollouts {
		before := len(c.stamps("ops"))
		c.helm("ops", filepath.Join(c.Dir, "ops.yaml"), "--set-string", fmt.Sprint("coordinators.billing.podAnnotations.round=", n))
		c.settled("ops", 3)
		sum, moves := gap(c.stamps("ops"), before)
		if moves != 1 {
			c.t.Errorf("rollout %d: the role moved %d times, want once", n, moves)
		}
		gaps = append(gaps, sum)
	}
	c.t.Logf("nobody at work in a rollout of three replicas: %s", spread(gaps))
}

func spread(all []time.Duration) string {
	slices.Sort(all)
	return fmt.Sprintf("median %v, worst %v of %d", all[len(all)/2], all[len(all)-1], len(all))
}

// service: the EndpointSlice names who works, and who is asked there says the same.
func (c *site) service() {
	for range 3 {
		was := c.works("ops")
		c.Do("kubectl", "delete", "pod", was.id)
		c.settled("ops", 3)
		lab.Eventually(c.t, "an answer of who works at the Service's endpoint", func() bool {
			address := c.Do("kubectl", "get", "endpointslice", "ops-billing", "-o", "jsonpath={.endpoints[*].addresses[0]}")
			res, err := http.Get("http://" + address + ":8080")
			if err != nil {
				return false
			}
			defer res.Body.Close()
			said, err := io.ReadAll(res.Body)
			now := c.works("ops")
			return err == nil && strings.TrimSpace(string(said)) == fmt.Sprint(now.id, " ", now.token) && now.id != was.id
		})
	}
}

// crash kills understudy in the container of who works, and not what is the container's first process: the witness
// ends the session.
func (c *site) crash() {
	before := c.works("ops")
	container := c.containerOf(before)
	first := c.Do("docker", "inspect", "-f", "{{.State.Pid}}", container)
	var wrapper int
	for line := range strings.Lines(c.Do("docker", "top", container, "-eo", "pid,ppid,args")) {
		if f := strings.Fields(line); len(f) > 4 && f[1] == first && f[3] == "run" {
			wrapper, _ = strconv.Atoi(f[0]) // 0 would be our own group, and is refused
		}
	}
	if wrapper == 0 {
		c.t.Fatalf("no wrapper in %s", c.Do("docker", "top", container, "-eo", "pid,ppid,args"))
	}
	lab.Must(c.t, syscall.Kill(wrapper, syscall.SIGKILL))
	c.taken("understudy killed in its container", "ops", before)
}

// killContainer kills all in the container of who works, the witness too.
func (c *site) killContainer() {
	before := c.works("ops")
	c.Do("docker", "kill", c.containerOf(before))
	c.taken("the container killed", "ops", before)
}

func (c *site) containerOf(w worked) string {
	return c.Do("docker", "ps", "-q", "--filter", "label=pod="+w.id, "--filter", "label=container=coordinator")
}

func (c *site) nodeOf(w worked) string {
	return c.Do("kubectl", "get", "pod", w.id, "-o", "jsonpath={.spec.nodeName}")
}

// taken waits until the one after before works, and all is well again, and says for how long nobody worked.
func (c *site) taken(what, release string, before worked) {
	c.t.Helper()
	c.after(release, before)
	c.settled(release, 3)
	all := c.stamps(release)
	i := slices.IndexFunc(all, func(w worked) bool { return w.token == before.token })
	c.t.Logf("%s: nobody worked for %v", what, all[i+1].first-all[i].last)
}

// after waits for a term after that.
func (c *site) after(release string, before worked) (now worked) {
	c.t.Helper()
	lab.Eventually(c.t, "another term", func() bool {
		now = c.works(release)
		return now.token > before.token
	})
	return now
}

// withoutAPI takes the API server away for longer than the ttl: somebody works again when it is back.
func (c *site) withoutAPI(d time.Duration) {
	before := c.works("ops")
	c.API().Kill()
	time.Sleep(d) // that is the outage
	lab.Must(c.t, c.API().Restart(lab.Within(c.t, lab.Patience)))
	c.taken(fmt.Sprint("the API server away for ", d), "ops", before)
}

// withoutNode kills the node of who works, with all its containers.
func (c *site) withoutNode() {
	before := c.works("ops")
	node := c.nodeOf(before)
	c.KillNode(node)
	c.after("ops", before)
	c.StartNode(node)
	c.taken("the node lost", "ops", before)
}

// uninstall leaves nothing behind but Raft's volumes, and the Lease, whose tokens the next ones exceed.
func (c *site) uninstall(release string) {
	c.Do("helm", "uninstall", release, "--wait", "--timeout", "3m")
	lab.Eventually(c.t, "nothing of "+release, func() bool {
		return c.Do("kubectl", "get", "all,role,rolebinding,serviceaccount,pdb,endpointslice", "-l", "app.kubernetes.io/instance="+release, "-o", "name") == ""
	})
}

// raft has three nodes of embedded Raft on volumes and with certificates, and rolls them.
func (c *site) raft() {
	certs := filepath.Join(c.Dir, "certs")
	c.Do(filepath.Join(c.Dir, "image-understudy/understudy"), "raft", "certs", "--dir", certs, "--raft-peers", "grp-billing-0=a:1,grp-billing-1=b:1,grp-billing-2=c:1")
	lab.Must(c.t, os.Remove(filepath.Join(certs, "ca.key")))
	c.Do("kubectl", "create", "secret", "generic", "grp-certs", "--from-file="+certs)
	for i := range 3 {
		dir := filepath.Join(c.Dir, fmt.Sprint("volume-", i))
		lab.Must(c.t, os.Mkdir(dir, 0o777))
		lab.Must(c.t, os.Chmod(dir, 0o777)) // whatever the umask
		text, err := json.Marshal(map[string]any{
			"apiVersion": "v1", "kind": "PersistentVolume", "metadata": map[string]any{"name": fmt.Sprint("volume-", i)},
			"spec": map[string]any{"capacity": map[string]any{"storage": "1Gi"}, "accessModes": []string{"ReadWriteOnce"}, "hostPath": map[string]any{"path": dir}},
		})
		lab.Must(c.t, err)
		lab.Must(c.t, os.WriteFile(dir+".json", text, 0o600))
		c.Do("kubectl", "apply", "-f", dir+".json")
	}
	values := c.values("grp", "replicas: 3")
	args := []string{"--set", "backend=raft,raft.storage.size=1Gi,raft.certificates.secret=grp-certs"}
	c.helm("grp", values, args...)
	c.settled("grp", 3)
	before := len(c.stamps("grp"))
	c.helm("grp", values, append(args, "--set-string", "coordinators.billing.podAnnotations.round=1")...)
	c.settled("grp", 3)
	sum, moves := gap(c.stamps("grp"), before)
	c.t.Logf("nobody at work in a rollout of three nodes of Raft: %v, in %d moves", sum, moves)
	if moves > 2 {
		c.t.Errorf("the role moved %d times, want twice at most", moves)
	}
	c.uninstall("grp")
}
