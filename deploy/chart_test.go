//go:build helm

package deploy

import (
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/internal/lab"
)

var update = flag.Bool("update", false, "write deploy/kubernetes anew from the chart")

// helm runs it without a cluster.
func helm(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command("../bin/helm", args...)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "KUBECONFIG=/dev/null")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// plain are the manifests that deploy/kubernetes has, and the values that they are made of.
func plain(t *testing.T) (names []string) {
	t.Helper()
	values, err := filepath.Glob("testdata/helm/*.yaml")
	lab.Must(t, err)
	for _, path := range values {
		names = append(names, strings.TrimSuffix(filepath.Base(path), ".yaml"))
	}
	if len(names) < 5 {
		t.Fatalf("there are values for %v alone", names)
	}
	return names
}

func template(t *testing.T, name string) string {
	t.Helper()
	text, err := helm(t, "template", "ops", chart, "-f", "testdata/helm/"+name+".yaml", "--api-versions", "cert-manager.io/v1", "--api-versions", "monitoring.coreos.com/v1")
	if err != nil {
		t.Fatal(text)
	}
	return text
}

// TestManifests: the plain manifests are what the chart makes.
func TestManifests(t *testing.T) {
	for _, name := range plain(t) {
		text := template(t, name)
		if out, err := helm(t, "lint", "--strict", chart, "-f", "testdata/helm/"+name+".yaml"); err != nil {
			t.Errorf("helm lint with %s: %s", name, out)
		}
		path := "kubernetes/" + name + ".yaml"
		want := "# Made from the chart by `make manifests`, with deploy/testdata/helm/" + name + ".yaml: change these.\n" + text
		if *update {
			lab.Must(t, os.WriteFile(path, []byte(want), 0o644))
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("%s is not what the chart makes: make manifests (%v)", path, err)
		}
	}
}

// TestChartMistakes: what is wrong in values is said with its place and what to write.
func TestChartMistakes(t *testing.T) {
	for set, want := range map[string]string{
		"coordinators.billing.activeStandby.enabled=false":         "at '/coordinators/billing/replicas': value must be one of 1, 'to have another one stand by, set activeStandby.enabled: true for it'",
		"coordinators.x.image=y":                                   "at '/coordinators/x': missing property 'command'",
		"coordinators.billing.comand={x}":                          "at '/coordinators/billing': additional properties 'comand' not allowed",
		"coordinators.billing.image=":                              "at '/coordinators/billing/image'",
		"coordinators.Billing.image=x":                             "'Billing' does not match pattern",
		"coordinators.billing.settings.etcd=x":                     "additional properties 'etcd' not allowed",
		"etcd.endpoints={a:2379}":                                  "at '/etcd/endpoints': value must be 'nothing: backend names another store'",
		"raft.storage.size=1Gi":                                    "at '/raft/storage': value must be 'nothing: backend names another store'",
		"backend=etcd":                                             "at '/etcd': missing property 'endpoints'",
		"backend=consul":                                           "at '/consul': missing property 'address'",
		"backend=postgres":                                         "at '/postgres': missing property 'url'",
		"backend=raft":                                             "at '/raft': missing properties 'storage', 'certificates'",
		"backend=zookeeper":                                        "at '/backend': value must be one of 'kubernetes', 'raft', 'etcd', 'consul', 'postgres'",
		"backend=etcd,etcd.endpoints={a:1},etcd.password=x":        "at '/etcd': additional properties 'password' not allowed",
		"metrics.podMonitor=true":                                  "metrics.podMonitor: needs metrics.tokenSecret.name",
		"backend=raft,raft.storage.size=1Gi,raft.certificates.a=b": "at '/raft/certificates'",
		"coordinators.billing.replicas=3,backend=raft,raft.storage.size=1Gi,raft.certificates.issuer.name=b": "raft.certificates.issuer: takes cert-manager, whose cert-manager.io/v1 this cluster does not have",
	} {
		out, err := helm(t, "template", "ops", chart, "-f", "testdata/helm/kubernetes.yaml", "--set", set)
		if err == nil || !strings.Contains(out, want) {
			t.Errorf("%s: %v\n%s\nwant %q", set, err, out, want)
		}
	}
}

// TestChartSettings: the chart knows every setting that a pod may have, by the name that the file of settings has for it.
func TestChartSettings(t *testing.T) {
	type object struct{ Properties map[string]any }
	var of, own struct {
		Properties map[string]object
		Defs       map[string]object `json:"$defs"`
	}
	for path, to := range map[string]any{chart + "/values.schema.json": &of, "../docs/understudy.schema.json": &own} {
		text, err := os.ReadFile(path)
		lab.Must(t, err)
		lab.Must(t, json.Unmarshal(text, to))
	}
	for name, settings := range own.Properties {
		if slices.Contains([]string{"etcd", "consul", "postgres"}, name) {
			for key := range settings.Properties {
				if _, has := of.Properties[name].Properties[key]; !has && !slices.Contains(notInChart, key) {
					t.Errorf("%s.%s: the chart's schema does not have it", name, key)
				}
			}
		} else if _, has := of.Defs["settings"].Properties[name]; has == slices.Contains(notInChart, name) {
			t.Errorf("%s: in the chart's schema: %v", name, has)
		}
	}
}

// notInChart are the settings that the chart makes itself, secrets that only a file may hold, and stores that it has
// no section for.
var notInChart = strings.Fields("activeStandby address admin backend endpointSlice id isolate kubernetes label lockFile log nats priority raft role roles s3 stopTimeout password token raftMultiplier")
