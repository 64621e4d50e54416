package clientconf

import (
	"fmt"
	"strings"

	"github.com/understudy-ha/understudy/lock"
)

// CheckPrefix says what is wrong with a Config's Prefix of keys, which may be empty.
func CheckPrefix(prefix string) error {
	if prefix == "" {
		return nil
	}
	if err := lock.CheckName("", prefix); err != nil {
		return lock.InFields(err, "Prefix")
	}
	if strings.Trim(prefix, "/") == "" || strings.Contains(prefix, "//") || strings.HasPrefix(prefix, "/") {
		return lock.InFields(fmt.Errorf("%q must not begin with a slash nor have an empty part; write it as team/understudy", prefix), "Prefix")
	}
	return nil
}
