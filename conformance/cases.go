package conformance

import "slices"

// cases is the table: what a store must do, then what a coordinator does over it.
func cases() []kase {
	return slices.Concat(acquireCases(), tokenCases(), sessionCases(), evictCases(), releaseCases(), lateCases(), watchCases(), faultCases(), lifecycleCases(), runCases(), runSessionCases(), runSpoiledCases(), runFaultCases(), historyCases())
}
