package late

import (
	"context"
	"errors"
	"fmt"
	"testing"
)

// TestError: the words of a context that is over are left out where they say nothing more, and it stays what it was.
func TestError(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		want string
	}{
		{context.DeadlineExceeded, "a gave no answer"},
		{context.Canceled, "a gave no answer"},
		{fmt.Errorf("b: %w", context.DeadlineExceeded), "a gave no answer: b: context deadline exceeded"},
	} {
		if err := Error(c.err, "%s gave no answer", "a"); err.Error() != c.want || !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
			t.Errorf("%v, want %s", err, c.want)
		}
	}
}
