package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// change changes what is known of the containers, and publishes it.
func (p *pod) change(do func()) {
	p.mu.Lock()
	do()
	p.mu.Unlock()
	p.publish(false)
}

// publish writes the pod's status until the API server has it.
func (p *pod) publish(over bool) {
	for try := 0; p.ctx.Err() == nil; try++ {
		text, err := json.Marshal(map[string]any{"status": p.status(over)})
		if err != nil {
			p.logf("%v", err)
			return
		}
		ctx, cancel := context.WithTimeout(p.ctx, 5*time.Second)
		_, err = p.client.CoreV1().Pods(p.spec.Namespace).Patch(ctx, p.spec.Name, types.MergePatchType, text, meta.PatchOptions{}, "status")
		cancel()
		if err == nil || errors.IsNotFound(err) {
			return
		}
		p.logf("status: %v", err)
		time.Sleep(200 * time.Millisecond) // between two tries, as while the API server is away
	}
}

func (p *pod) status(over bool) core.PodStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := core.PodStatus{
		Phase: core.PodPending, StartTime: &p.started, PodIP: p.ip, HostIP: "127.0.0.1",
		InitContainerStatuses: p.init, ContainerStatuses: p.main,
	}
	if p.ip != "" {
		s.PodIPs = []core.PodIP{{IP: p.ip}}
	}
	ready, initialized := true, true
	for _, c := range p.init {
		initialized = initialized && c.Ready
	}
	for _, c := range p.main {
		ready = ready && c.Ready
		if c.State.Running != nil || c.RestartCount > 0 {
			s.Phase = core.PodRunning
		}
	}
	if over {
		s.Phase = core.PodSucceeded
		for _, c := range p.main {
			if c.State.Terminated == nil || c.State.Terminated.ExitCode != 0 {
				s.Phase = core.PodFailed
			}
		}
	}
	for kind, yes := range map[core.PodConditionType]bool{
		core.PodInitialized: initialized, core.ContainersReady: ready && !over, core.PodReady: ready && !over, core.PodScheduled: true,
	} {
		c := core.PodCondition{Type: kind, Status: core.ConditionFalse, LastTransitionTime: meta.Now()}
		if yes {
			c.Status = core.ConditionTrue
		}
		s.Conditions = append(s.Conditions, c)
	}
	return s
}

// probe asks a container by its probes, until it is gone.
func (p *pod) probe(gone context.Context, i int, id string) {
	c := p.spec.Spec.Containers[i]
	if c.StartupProbe != nil {
		p.until(gone, c.StartupProbe, id, func(ok bool) bool {
			if !ok {
				p.restart(id, "startup")
			}
			return true
		})
	}
	if c.LivenessProbe != nil {
		go p.until(gone, c.LivenessProbe, id, func(ok bool) bool {
			if !ok {
				p.restart(id, "liveness")
			}
			return !ok
		})
	}
	if c.ReadinessProbe == nil {
		p.change(func() { p.main[i].Ready = true })
		return
	}
	p.until(gone, c.ReadinessProbe, id, func(ok bool) bool {
		p.change(func() { p.main[i].Ready = ok && p.ids[i] == id })
		return false
	})
}

func (p *pod) restart(id, probe string) {
	p.logf("the %s probe failed", probe)
	_ = p.docker.kill(p.ctx, id, "TERM")
}

// until asks a probe again and again, and tells each change of its answer, until it is told that this is enough.
func (p *pod) until(gone context.Context, probe *core.Probe, id string, tell func(ok bool) bool) {
	known, good, bad := "", int32(0), int32(0)
	wait := time.Duration(probe.InitialDelaySeconds) * time.Second
	for {
		select {
		case <-gone.Done():
			return
		case <-time.After(wait):
		}
		wait = time.Duration(max(1, probe.PeriodSeconds)) * time.Second
		if known == "" && good+bad < 50 {
			wait = min(wait, 200*time.Millisecond) // a kubelet asks at once, too, after a start
		}
		ctx, cancel := context.WithTimeout(gone, time.Duration(max(1, probe.TimeoutSeconds))*time.Second)
		err := p.ask(ctx, probe, id)
		cancel()
		if gone.Err() != nil {
			return
		}
		if good++; err != nil {
			good = 0
		}
		if bad++; err == nil {
			bad = 0
		}
		now := known
		if good >= max(1, probe.SuccessThreshold) {
			now = "good"
		} else if bad >= max(1, probe.FailureThreshold) {
			now = "bad"
		}
		if now == known {
			continue
		}
		if now == "bad" {
			p.logf("a probe fails: %v", err)
		}
		if known = now; tell(now == "good") {
			return
		}
	}
}

func (p *pod) ask(ctx context.Context, probe *core.Probe, id string) error {
	switch {
	case probe.Exec != nil:
		code, said, err := p.docker.exec(ctx, id, probe.Exec.Command)
		if err == nil && code != 0 {
			err = fmt.Errorf("exit code %d: %s", code, bytes.TrimSpace([]byte(said)))
		}
		return err
	case probe.HTTPGet != nil:
		url := fmt.Sprintf("http://%s:%s/%s", p.ip, probe.HTTPGet.Port.String(), probe.HTTPGet.Path)
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		res, err := http.DefaultClient.Do(req)
		if err == nil && res.StatusCode >= 400 {
			err = fmt.Errorf("%s: %s", url, res.Status)
		}
		return err
	}
	return fmt.Errorf("this node knows no such probe: %v", probe)
}
