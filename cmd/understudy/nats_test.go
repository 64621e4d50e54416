//go:build nats

package main

import (
	"testing"
)

// TestNATS runs what every store is tested with on NATS.
func TestNATS(t *testing.T) {
	for name, test := range map[string]func(*testing.T, *trio){
		"Operator": testOperator, "Pause": testPause, "Drain": testDrain, "Why": testWhy, "StatusWatch": testStatusWatch, "StatusWatchSaysOneOutage": testStatusWatchSaysOneOutage,
		"HandoffToTheDead": testHandoffToTheDead, "Completion": testCompletion, "StoreIsLost": testStoreIsLost, "OutageIsFewLines": testOutageIsFewLines, "AnyOne": testAnyOne,
	} {
		t.Run(name, func(t *testing.T) { onEach(t, []string{"nats"}, test) })
	}
}
