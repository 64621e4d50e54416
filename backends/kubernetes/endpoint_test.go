//go:build kubernetes

package kubernetes_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/internal/lab"
)

const slices = "/apis/discovery.k8s.io/v1/namespaces/ops/endpointslices"

// TestPublish: an EndpointSlice names whom the greatest token says, whatever comes late, and needs no other rights
// than the page gives.
func TestPublish(t *testing.T) {
	r := start(t)
	c := r.config("understudy")
	a, b := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	if err := c.Publish(t.Context(), "billing", a, 3); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("without the rights: %v", err)
	}
	r.hand(http.MethodPost, rbac+"roles", `{"metadata": {"name": "slices"}, "rules": [
		{"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "resourceNames": ["billing"], "verbs": ["get", "patch"]}]}`)
	r.hand(http.MethodPost, rbac+"rolebindings", `{"metadata": {"name": "slices"},
		"subjects": [{"kind": "ServiceAccount", "name": "billing", "namespace": "ops"}],
		"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "slices"}}`)
	lab.Eventually(t, "the rights are known, and the slice is not there", func() bool {
		err := c.Publish(t.Context(), "billing", a, 3)
		return err != nil && strings.Contains(err.Error(), "404")
	})
	r.hand(http.MethodPost, slices, `{"metadata": {"name": "billing"}, "addressType": "IPv4", "ports": [{"name": "http", "port": 80}]}`)
	for _, step := range []struct {
		to    netip.Addr
		token uint64
		want  []string
	}{
		{netip.Addr{}, 2, nil},
		{a, 3, []string{"10.0.0.1"}},
		{b, 5, []string{"10.0.0.2"}},
		{a, 4, []string{"10.0.0.2"}}, // late
		{netip.Addr{}, 3, []string{"10.0.0.2"}},
		{b, 5, []string{"10.0.0.2"}}, // again
		{netip.Addr{}, 5, nil},
		{a, 18446744073709551615, []string{"10.0.0.1"}},
	} {
		must(t, c.Publish(t.Context(), "billing", step.to, step.token))
		var s struct {
			Endpoints []struct{ Addresses []string }
			Ports     []struct{ Port int }
		}
		must(t, json.Unmarshal([]byte(r.hand(http.MethodGet, slices+"/billing", "")), &s))
		var got []string
		for _, e := range s.Endpoints {
			got = append(got, e.Addresses...)
		}
		if !reflect.DeepEqual(got, step.want) || len(s.Ports) != 1 {
			t.Errorf("after %v under %d: %v, want %v; ports %v", step.to, step.token, got, step.want, s.Ports)
		}
	}
	wrong := fmt.Sprint(c.Publish(t.Context(), "billing", netip.MustParseAddr("fd00::1"), 18446744073709551615))
	if want := "EndpointSlice billing has addresses of type IPv4, and fd00::1 is none; make one of type IPv6"; wrong != want {
		t.Error(wrong)
	}
}
