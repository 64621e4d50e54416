//go:build postgres || kubernetes || nats || s3

package main

import (
	"strings"
	"testing"
)

// conformsInOneValue runs some cases on a store that keeps one value.
func conformsInOneValue(t *testing.T, flags []string) {
	t.Helper()
	text := conform(t, 0, append(flags, "--case", someCases)...)
	for _, want := range []string{"AcquireFree", "not run: needs DeleteRole", "cannot be done here: DeleteRole: the store keeps all roles", " 0 failed"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not said:\n%s", want, text)
		}
	}
}

// measuresOne measures a store of which the bench starts one server.
func measuresOne(t *testing.T, store string) {
	t.Helper()
	_, said, samples := measures(t, store, "clean,crash-witness,store-leader")
	if want := "store-leader on " + store + " is left out: it has one server here"; len(samples) != 2 || !strings.Contains(said, want) {
		t.Errorf("%q is not said, or these are not two runs: %+v\n%s", want, samples, said)
	}
}
