package consul

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// TestARecordThatIsTooLarge puts more into a key than Consul takes: that is said at once,
// and is for good.
func TestARecordThatIsTooLarge(t *testing.T) {
	for _, size := range []int{600 << 10, 4 << 20} {
		s := open(t, Config{})
		if _, err := put(timeout(t, 10*time.Second), s, "large/a", strings.Repeat("x", size), ""); !errors.Is(err, lock.ErrPermanent) {
			t.Errorf("%d bytes: %v, want ErrPermanent", size, err)
		}
	}
}
