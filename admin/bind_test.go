package admin

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
)

// TestUnbound: a port that takes a right is not told to be freed. The refusal is made up, as root is refused nothing.
func TestUnbound(t *testing.T) {
	t.Parallel()
	for want, err := range map[string]error{
		"Listen: listen tcp: permission denied; a port below 1024 takes a right that this user lacks; give a greater one": syscall.EACCES,
		"Listen: listen tcp: address already in use; free the address, or give another one":                               syscall.EADDRINUSE,
	} {
		if got := unbound("Listen", fmt.Errorf("listen tcp: %w", err)).Error(); !strings.Contains(got, want) {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}
