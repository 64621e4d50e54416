package kubernetes

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
)

// tokenKey is the annotation of an EndpointSlice under whose token its endpoint was written.
const tokenKey = "understudy-ha.github.io/token"

// A slice is an EndpointSlice, as far as it counts here. Its ports, and the Service that it belongs to, are those of
// whoever made it.
type slice struct {
	Metadata    meta
	AddressType string
}

type endpoint struct {
	Addresses  []string        `json:"addresses"`
	Conditions map[string]bool `json:"conditions"`
}

// Publish has an EndpointSlice, which must be there, name this address alone: that of the role's active. The zero
// address withdraws: it names nobody then. A slice that was written under a greater token is left as it is, and that
// is not an error: an active that learns late that it is none any more takes no client away from its successor.
//
// It needs the rights to get and to patch that slice. After an error it may be called again.
func (c Config) Publish(ctx context.Context, name string, address netip.Addr, token uint64) error {
	c.Logger = nil
	w, err := newWire(c)
	if err != nil {
		return err
	}
	defer w.close()
	path := "/apis/discovery.k8s.io/v1/namespaces/" + w.namespace + "/endpointslices/" + name
	var was slice
	if err := w.do(ctx, http.MethodGet, path, nil, nil, &was); err != nil {
		return err
	}
	before := was.Metadata.Annotations[tokenKey]
	if n, err := strconv.ParseUint(before, 10, 64); before != "" && err != nil {
		return fmt.Errorf("EndpointSlice %s: its annotation %s is %q, which is not a token; delete the annotation", name, tokenKey, before)
	} else if n > token {
		return nil
	}
	endpoints := []endpoint{}
	if address.IsValid() {
		endpoints = []endpoint{{[]string{address.String()}, map[string]bool{"ready": true}}}
		if family := map[bool]string{true: "IPv4", false: "IPv6"}[address.Is4()]; was.AddressType != family {
			return fmt.Errorf("EndpointSlice %s has addresses of type %s, and %s is none; make one of type %s", name, was.AddressType, address, family)
		}
	}
	steps := []step{{"test", "/metadata/resourceVersion", was.Metadata.ResourceVersion}}
	if len(was.Metadata.Annotations) == 0 {
		steps = append(steps, step{"add", "/metadata/annotations", struct{}{}})
	}
	steps = append(steps, step{"add", annotation(tokenKey), strconv.FormatUint(token, 10)}, step{"add", "/endpoints", endpoints})
	return w.do(ctx, http.MethodPatch, path, nil, steps, &was)
}
