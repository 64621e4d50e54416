package clientconf

import (
	"fmt"
	"strings"

	"github.com/understudy-ha/understudy/lock"
)

// CheckPrefix says what is wrong with a prefix of keys, which may be empty. what
// names the flag.
func CheckPrefix(what, prefix string) error {
	if prefix == "" {
		return nil
	}
	if err := lock.CheckName(what, prefix); err != nil {
		return err
	}
	if strings.Trim(prefix, "/") == "" || strings.Contains(prefix, "//") || strings.HasPrefix(prefix, "/") {
		return fmt.Errorf("%s %q: must not begin with a slash nor have an empty part; write it as team/understudy", what, prefix)
	}
	return nil
}
