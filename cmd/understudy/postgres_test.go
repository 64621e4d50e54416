//go:build postgres

package main

import (
	"testing"
)

// TestPostgres runs what every store is tested with on PostgreSQL.
func TestPostgres(t *testing.T) {
	for name, test := range map[string]func(*testing.T, *trio){
		"Operator": testOperator, "Pause": testPause, "Drain": testDrain, "Why": testWhy, "StatusWatch": testStatusWatch, "StatusWatchSaysOneOutage": testStatusWatchSaysOneOutage,
		"HandoffToTheDead": testHandoffToTheDead, "Completion": testCompletion, "StoreIsLost": testStoreIsLost, "OutageIsFewLines": testOutageIsFewLines, "AnyOne": testAnyOne,
	} {
		t.Run(name, func(t *testing.T) { onEach(t, []string{"postgres"}, test) })
	}
}
