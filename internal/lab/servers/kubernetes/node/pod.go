package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	core "k8s.io/api/core/v1"
	api "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A pod is one that is bound to this node. One goroutine runs it from its first container to its last status.
type pod struct {
	*node
	spec    *core.Pod // as it was bound
	dir     string
	sandbox string // the container that keeps its network
	ip      string
	started meta.Time

	told  context.Context // ends when the pod is to stop
	tell  context.CancelFunc
	hurry context.Context // ends when its grace period is over
	now   context.CancelFunc

	mu    sync.Mutex
	grace time.Duration
	init  []core.ContainerStatus
	main  []core.ContainerStatus
	ids   []string // of the main containers
}

func newPod(n *node, spec *core.Pod) *pod {
	p := &pod{node: n, spec: spec, dir: filepath.Join(n.dir, string(spec.UID)), started: meta.Now()}
	p.told, p.tell = context.WithCancel(n.ctx)
	p.hurry, p.now = context.WithCancel(n.ctx)
	for _, c := range spec.Spec.InitContainers {
		p.init = append(p.init, waiting(c))
	}
	for _, c := range spec.Spec.Containers {
		p.main = append(p.main, waiting(c))
	}
	p.ids = make([]string, len(p.main))
	return p
}

func waiting(c core.Container) core.ContainerStatus {
	return core.ContainerStatus{Name: c.Name, Image: c.Image, State: core.ContainerState{Waiting: &core.ContainerStateWaiting{Reason: "ContainerCreating"}}}
}

// stop has the pod stop within the grace period. It may be repeated with a shorter one.
func (p *pod) stop(seconds int64) {
	grace := time.Duration(seconds) * time.Second
	p.mu.Lock()
	if p.told.Err() == nil {
		p.grace = grace
	}
	p.mu.Unlock()
	time.AfterFunc(grace, p.now)
	p.tell()
}

// run runs the pod until nothing of it is left.
func (p *pod) run() {
	if err := p.begin(); err != nil && p.told.Err() == nil {
		p.logf("%v", err)
		p.change(func() {
			p.main[0].State.Waiting = &core.ContainerStateWaiting{Reason: "CreateContainerError", Message: err.Error()}
		})
		<-p.told.Done()
	}
	if p.told.Err() == nil {
		var all sync.WaitGroup
		for i := range p.spec.Spec.Containers {
			all.Go(func() { p.keep(i) })
		}
		all.Wait()
	}
	if p.ctx.Err() != nil {
		return // the node ends: its containers go on, as with a kubelet
	}
	if p.sandbox != "" {
		_ = p.docker.remove(p.ctx, p.sandbox)
	}
	p.publish(true)
	zero := int64(0)
	err := p.client.CoreV1().Pods(p.spec.Namespace).Delete(p.ctx, p.spec.Name, meta.DeleteOptions{
		GracePeriodSeconds: &zero, Preconditions: &meta.Preconditions{UID: &p.spec.UID},
	})
	if err != nil && !api.IsNotFound(err) && !api.IsConflict(err) {
		p.logf("%v", err)
	}
	_ = os.RemoveAll(p.dir)
}

// begin makes the network and the volumes, and runs the init containers.
func (p *pod) begin() error {
	p.publish(false)
	if err := errors.Join(os.RemoveAll(p.dir), os.MkdirAll(p.dir, 0o755)); err != nil { // an earlier kubelet's is old
		return err
	}
	sandbox := container{Image: p.pause, Labels: p.labels("sandbox"), Hostname: p.spec.Name}
	sandbox.HostConfig.NetworkMode = p.network
	if p.spec.Spec.Subdomain != "" {
		sandbox.NetworkingConfig.EndpointsConfig = map[string]endpoint{p.network: {[]string{p.spec.Spec.Hostname + "." + p.spec.Spec.Subdomain}}}
	}
	var err error
	if p.sandbox, err = p.docker.start(p.told, p.called("sandbox"), sandbox); err != nil {
		return err
	}
	if p.ip, err = p.docker.address(p.told, p.sandbox, p.network); err != nil {
		return err
	}
	if err := p.volumes(); err != nil {
		return err
	}
	for i, c := range p.spec.Spec.InitContainers {
		for try := 0; ; try++ {
			id, err := p.create(c, fmt.Sprintf("init%d-%d", i, try))
			if err != nil {
				return err
			}
			p.change(func() { p.init[i].State = running() })
			code, err := p.docker.wait(p.told, id)
			if err != nil {
				return err
			}
			p.keepLog(c.Name, id)
			p.change(func() { p.init[i].State, p.init[i].Ready = ended(code), code == 0 })
			if code == 0 {
				break
			}
			p.logf("init container %s ended with %d", c.Name, code)
			p.pauseFor(try)
		}
	}
	return nil
}

// pauseFor waits before another try, as a kubelet does, up to 10 s: a test has no five minutes.
func (p *pod) pauseFor(try int) {
	select {
	case <-p.told.Done():
	case <-time.After(min(10*time.Second, 500*time.Millisecond<<min(try, 5))):
	}
}

// keep runs a container, again and again where it is to be restarted, until the pod stops.
func (p *pod) keep(i int) {
	c := p.spec.Spec.Containers[i]
	for try := 0; p.told.Err() == nil; try++ {
		id, err := p.create(c, fmt.Sprintf("%s-%d", c.Name, try))
		if err != nil {
			p.logf("%v", err)
			p.pauseFor(try)
			continue
		}
		p.change(func() {
			p.ids[i], p.main[i].State, p.main[i].RestartCount, p.main[i].ContainerID = id, running(), int32(try), "docker://"+id
		})
		gone, left := context.WithCancel(p.ctx)
		go p.probe(gone, i, id)
		go p.endInOrder(gone, c, id)
		code, err := p.docker.wait(p.ctx, id)
		left()
		if err != nil {
			return // the node ends
		}
		p.keepLog(c.Name, id)
		p.logf("container %s ended with %d", c.Name, code)
		p.change(func() { p.main[i].State, p.main[i].Ready = ended(code), false })
		if p.spec.Spec.RestartPolicy == core.RestartPolicyNever || p.spec.Spec.RestartPolicy == core.RestartPolicyOnFailure && code == 0 {
			<-p.told.Done()
		}
		p.pauseFor(try)
	}
}

// endInOrder ends a container once the pod is to stop: preStop, SIGTERM, and SIGKILL when the grace period is over.
func (p *pod) endInOrder(gone context.Context, c core.Container, id string) {
	select {
	case <-gone.Done():
		return
	case <-p.told.Done():
	}
	if p.ctx.Err() != nil {
		return
	}
	go func() {
		select {
		case <-gone.Done():
		case <-p.hurry.Done():
			if p.ctx.Err() == nil {
				p.logf("SIGKILL: the grace period is over")
				_ = p.docker.kill(p.ctx, id, "KILL")
			}
		}
	}()
	if c.Lifecycle != nil && c.Lifecycle.PreStop != nil && c.Lifecycle.PreStop.Exec != nil {
		code, said, err := p.docker.exec(p.hurry, id, c.Lifecycle.PreStop.Exec.Command)
		p.logf("preStop: %d %s %v", code, said, err)
	}
	_ = p.docker.kill(p.ctx, id, "TERM")
}

// keepLog appends what a container said to the log of its name, and removes the container.
func (p *pod) keepLog(name, id string) {
	f, err := os.OpenFile(filepath.Join(p.node.dir, p.spec.Name+"."+name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err == nil {
		_, _ = f.WriteString(p.docker.logs(p.ctx, id))
		_ = f.Close()
	}
	_ = p.docker.remove(p.ctx, id)
}

func (p *pod) labels(what string) map[string]string {
	return map[string]string{"understudy-node": p.name, "pod": p.spec.Name, "container": what, "network": p.network}
}

func (p *pod) called(what string) string {
	return fmt.Sprintf("%s-%s-%s", p.spec.Name, p.spec.UID, what)
}

func running() core.ContainerState {
	return core.ContainerState{Running: &core.ContainerStateRunning{StartedAt: meta.Now()}}
}

func ended(code int) core.ContainerState {
	reason := "Completed"
	if code != 0 {
		reason = "Error"
	}
	return core.ContainerState{Terminated: &core.ContainerStateTerminated{ExitCode: int32(code), Reason: reason, FinishedAt: meta.Now()}}
}
