//go:build s3

package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/internal/lab/servers"
)

// TestS3 runs some cases on an S3 server, and leaves nothing there.
func TestS3(t *testing.T) {
	server, flags := serve(t, "s3")
	conformsInOneValue(t, flags)
	left, err := os.ReadDir(filepath.Join(server.Members[0].Data(), servers.Bucket))
	lab.Must(t, err)
	for _, one := range left {
		if !one.IsDir() { // the server has directories of its own
			t.Errorf("%s is left", one.Name())
		}
	}
	measuresOne(t, "s3")
}
