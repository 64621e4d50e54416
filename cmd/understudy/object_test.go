//go:build kubernetes || s3

package main

import (
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/backends"
	"github.com/understudy-ha/understudy/internal/lab/stores"
)

// eachOnItsOwn runs what every store is tested with on one server, each on an object of its own, which flag and setting name.
func eachOnItsOwn(t *testing.T, store, flag string, setting func(*backends.Config) *string) {
	t.Helper()
	s := stores.Start(t, store, t.TempDir())
	for name, test := range map[string]func(*testing.T, *trio){
		"Operator": testOperator, "Pause": testPause, "Drain": testDrain, "Why": testWhy, "StatusWatch": testStatusWatch, "StatusWatchSaysOneOutage": testStatusWatchSaysOneOutage,
		"HandoffToTheDead": testHandoffToTheDead, "AnyOne": testAnyOne,
	} {
		t.Run(name, func(t *testing.T) {
			test(t, newTrioOn(t, func(r *trio) (backends.Config, []string) {
				r.cluster = s.Cluster
				c, object := s.Config, strings.ToLower(name)
				*setting(&c) = object
				return c, append(s.Flags(), flag, object)
			}))
		})
	}
	whole := func(name string, test func(*testing.T, *trio)) {
		t.Run(name, func(t *testing.T) {
			test(t, newTrioOn(t, func(r *trio) (backends.Config, []string) {
				r.cluster = s.Cluster
				return s.Config, s.Flags()
			}))
		})
	}
	whole("OutageIsFewLines", testOutageIsFewLines)
	whole("StoreIsLost", testStoreIsLost) // it leaves no server
}
