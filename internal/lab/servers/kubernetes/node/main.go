// Command node is a node of Kubernetes for tests. It registers itself, renews its lease, and runs the pods that are
// bound to it as containers of Docker Engine: init containers, environment, volumes, probes, preStop, the grace
// period, and what has become of them, in the pod's status. Killed, it is a kubelet that died; killed with its
// containers, it is a node that died.
//
// It is not a kubelet. What is faked:
//   - Pods of all nodes share one network of Docker, which gives them their addresses. Nobody implements Services, and
//     the only names are POD.SUBDOMAIN, whether the pod is ready or not.
//   - Volumes are directories of this machine: emptyDir, hostPath, Secrets, projected tokens, and claims that are
//     bound to a hostPath. They are written once: a token or a Secret that is rotated is not.
//   - Requests, limits, affinity, seccomp and images are Docker's or nobody's: nothing is pulled, and nothing is evicted.
//   - Of the probes it knows exec and httpGet; of the hooks preStop with exec.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os/signal"
	"sync"
	"syscall"
	"time"

	coordination "k8s.io/api/coordination/v1"
	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

// A node runs pods.
type node struct {
	name, dir     string
	network       string // of Docker
	pause         string // the image that keeps a pod's network
	server, port  string // of the API server, as pods reach it
	client        *kubernetes.Clientset
	docker        engine
	ctx           context.Context
	group         sync.WaitGroup
	mu            sync.Mutex
	pods          map[types.UID]*pod
	leaseDuration int32
}

func main() {
	n := &node{pods: map[types.UID]*pod{}, leaseDuration: 40}
	var kubeconfig, socket string
	flag.StringVar(&kubeconfig, "kubeconfig", "", "of who may do everything")
	flag.StringVar(&socket, "docker", "/var/run/docker.sock", "the engine's socket")
	flag.StringVar(&n.name, "name", "node", "this node's")
	flag.StringVar(&n.dir, "dir", "", "for volumes and logs")
	flag.StringVar(&n.network, "network", "bridge", "of Docker, for pods")
	flag.StringVar(&n.pause, "pause", "", "the image that keeps a pod's network")
	flag.StringVar(&n.server, "server", "", "the API server's address for pods")
	flag.StringVar(&n.port, "port", "", "the API server's port for pods")
	flag.Parse()
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	must(err)
	config.QPS, config.Burst = 200, 200
	n.client, err = kubernetes.NewForConfig(config)
	must(err)
	n.docker = newEngine(socket)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	n.ctx = ctx
	must(n.register())
	go n.every(10*time.Second, n.report)
	go n.every(2*time.Second, n.renew)
	n.watch()
	log.Println("ready")
	<-ctx.Done()
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// every does something at once and from then on, as long as the node is there.
func (n *node) every(d time.Duration, do func() error) {
	for n.ctx.Err() == nil {
		if err := do(); err != nil {
			log.Println(err)
		}
		select {
		case <-n.ctx.Done():
		case <-time.After(d):
		}
	}
}

func (n *node) register() error {
	_, err := n.client.CoreV1().Nodes().Create(n.ctx, &core.Node{
		ObjectMeta: meta.ObjectMeta{Name: n.name, Labels: map[string]string{core.LabelHostname: n.name}},
	}, meta.CreateOptions{})
	if errors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

// report says that this node is ready, and what it has.
func (n *node) report() error {
	it, err := n.client.CoreV1().Nodes().Get(n.ctx, n.name, meta.GetOptions{})
	if err != nil {
		return err
	}
	it.Status.Capacity = core.ResourceList{
		core.ResourceCPU: resource.MustParse("8"), core.ResourceMemory: resource.MustParse("16Gi"), core.ResourcePods: resource.MustParse("50"),
	}
	it.Status.Allocatable = it.Status.Capacity
	now := meta.Now()
	it.Status.Conditions = []core.NodeCondition{{
		Type: core.NodeReady, Status: core.ConditionTrue, Reason: "Registered", LastHeartbeatTime: now, LastTransitionTime: now,
	}}
	_, err = n.client.CoreV1().Nodes().UpdateStatus(n.ctx, it, meta.UpdateOptions{})
	return err
}

// renew renews the node's lease, by which the node lifecycle controller knows that it lives.
func (n *node) renew() error {
	leases := n.client.CoordinationV1().Leases(core.NamespaceNodeLease)
	now := meta.NewMicroTime(time.Now())
	lease := &coordination.Lease{
		ObjectMeta: meta.ObjectMeta{Name: n.name, Namespace: core.NamespaceNodeLease},
		Spec:       coordination.LeaseSpec{HolderIdentity: &n.name, LeaseDurationSeconds: &n.leaseDuration, RenewTime: &now},
	}
	old, err := leases.Get(n.ctx, n.name, meta.GetOptions{})
	switch {
	case errors.IsNotFound(err):
		_, err = leases.Create(n.ctx, lease, meta.CreateOptions{})
	case err == nil:
		old.Spec = lease.Spec
		_, err = leases.Update(n.ctx, old, meta.UpdateOptions{})
	}
	return err
}

// watch has a pod for each that is bound to this node.
func (n *node) watch() {
	list := cache.NewListWatchFromClient(n.client.CoreV1().RESTClient(), "pods", "", fields.OneTermEqualSelector("spec.nodeName", n.name))
	_, informer := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: list, ObjectType: &core.Pod{},
		Handler: cache.ResourceEventHandlerFuncs{
			AddFunc:    func(o any) { n.see(o.(*core.Pod)) },
			UpdateFunc: func(_, o any) { n.see(o.(*core.Pod)) },
			DeleteFunc: func(o any) {
				if last, ok := o.(cache.DeletedFinalStateUnknown); ok {
					o = last.Obj
				}
				n.forget(o.(*core.Pod))
			},
		},
	})
	go informer.Run(n.ctx.Done())
	if !cache.WaitForCacheSync(n.ctx.Done(), informer.HasSynced) {
		log.Fatal("the pods of this node cannot be listed")
	}
}

// see begins or ends a pod.
func (n *node) see(p *core.Pod) {
	n.mu.Lock()
	defer n.mu.Unlock()
	mine := n.pods[p.UID]
	if mine == nil {
		mine = newPod(n, p)
		n.pods[p.UID] = mine
		n.group.Go(mine.run)
	}
	if p.DeletionTimestamp != nil {
		mine.stop(*p.DeletionGracePeriodSeconds)
	}
}

// forget ends a pod that is gone without a grace period, as one that was deleted by force.
func (n *node) forget(p *core.Pod) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if mine := n.pods[p.UID]; mine != nil {
		mine.stop(0)
		delete(n.pods, p.UID)
	}
}

func (p *pod) logf(format string, args ...any) {
	log.Printf("%s: %s", p.spec.Name, fmt.Sprintf(format, args...))
}
