//go:build s3

package main

import (
	"testing"

	"github.com/understudy-ha/understudy/backends"
)

// TestS3 runs what every store is tested with on one S3 server, each on an object of its own.
func TestS3(t *testing.T) {
	eachOnItsOwn(t, "s3", "--s3-object", func(c *backends.Config) *string { return &c.S3.Object })
}
