//go:build helm

package deploy

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/internal/lab"
)

// electors are what the chart's Deployment is, of a program that uses client-go's leader election.
const electors = `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: elector}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}
subjects: [{kind: ServiceAccount, name: default, namespace: default}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: elector}
spec:
  replicas: 3
  selector: {matchLabels: {app.kubernetes.io/instance: elector}}
  strategy: {type: RollingUpdate, rollingUpdate: {maxUnavailable: 0, maxSurge: 1}}
  template:
    metadata: {labels: {app.kubernetes.io/instance: elector}}
    spec:
      containers:
      - name: coordinator
        image: IMAGE
        command: [/elector]
        env: [{name: STAMPS, value: /stamps}]
        volumeMounts: [{name: stamps, mountPath: /stamps}]
      volumes: [{name: stamps, hostPath: {path: STAMPS}}]
`

// elector measures the same with client-go's leader election, at its usual times.
func (c *site) elector() {
	c.BuildImage("elector", "../internal/lab/servers/kubernetes", "./elector")
	path := filepath.Join(c.Dir, "elector.yaml")
	text := strings.NewReplacer("IMAGE", c.Image("elector"), "STAMPS}", c.stampsOf("elector")+"}").Replace(electors)
	lab.Must(c.t, os.WriteFile(path, []byte(text), 0o600))
	ready := func() {
		c.Do("kubectl", "rollout", "status", "deployment/elector", "--timeout=3m")
		lab.Eventually(c.t, "somebody who works", func() bool { return c.leads().token > 0 })
	}
	c.Do("kubectl", "apply", "-f", path)
	ready()
	var gaps []time.Duration
	for n := range *rollouts {
		before := len(c.read("elector"))
		c.Do("kubectl", "patch", "deployment", "elector", "-p", fmt.Sprintf(`{"spec": {"template": {"metadata": {"annotations": {"round": "%d"}}}}}`, n))
		ready()
		time.Sleep(3 * time.Second) // who waits for the Lease asks every two seconds
		sum, moves := gap(c.read("elector"), before)
		c.t.Logf("client-go, rollout %d: nobody at work for %v, in %d moves", n, sum, moves)
		gaps = append(gaps, sum)
	}
	c.t.Logf("client-go: nobody at work in a rollout of three replicas: %s", spread(gaps))
	lost := func(what string, lose func(worked)) {
		was := c.leads()
		lose(was)
		lab.Eventually(c.t, "another who works", func() bool { return c.leads().token > was.token })
		all := c.read("elector")
		c.t.Logf("client-go: %s: nobody worked for %v", what, all[len(all)-1].first-all[len(all)-2].last)
	}
	// The same pod starts its container again, and is known to the Lease by the same name.
	lost("the container killed", func(w worked) { c.Do("docker", "kill", c.containerOf(w)) })
	lost("the node lost", func(w worked) { c.KillNode(c.nodeOf(w)) })
	c.Do("kubectl", "delete", "-f", path)
}

// leads is who works now; those of client-go are not judged.
func (c *site) leads() worked {
	all := c.read("elector")
	if len(all) == 0 {
		return worked{}
	}
	return all[len(all)-1]
}
