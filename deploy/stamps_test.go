//go:build helm

package deploy

import (
	"bytes"
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/internal/lab/cluster"
)

// A site is a cluster whose processes stamp that they work, under the name of what they work for.
type site struct {
	*cluster.Cluster
	t *testing.T
}

// stampsOf is the folder that the pods of a release stamp in.
func (c *site) stampsOf(release string) string {
	c.t.Helper()
	dir := filepath.Join(c.Dir, "stamps-"+release)
	lab.Must(c.t, os.MkdirAll(dir, 0o777))
	lab.Must(c.t, os.Chmod(dir, 0o777)) // the umask would leave the pods out
	return dir
}

// A worked is what one process stamped under one token.
type worked struct {
	token       int
	id          string
	first, last time.Duration
}

// read are what all processes of a release stamped, by token.
func (c *site) read(release string) (all []worked) {
	c.t.Helper()
	files, err := os.ReadDir(c.stampsOf(release))
	lab.Must(c.t, err)
	for _, f := range files {
		text, err := os.ReadFile(filepath.Join(c.stampsOf(release), f.Name()))
		lab.Must(c.t, err)
		whole := string(text[:bytes.LastIndexByte(text, '\n')+1]) // the last line may be half there
		lines := strings.Fields(whole)
		if len(lines) == 0 {
			continue
		}
		token, id, _ := strings.Cut(f.Name(), ".")
		w := worked{id: id, first: stamp(c.t, lines[0]), last: stamp(c.t, lines[len(lines)-1])}
		w.token, err = strconv.Atoi(token)
		lab.Must(c.t, err)
		all = append(all, w)
	}
	slices.SortFunc(all, func(a, b worked) int { return cmp.Compare(a.token, b.token) })
	return all
}

// stamps are what read returns. Two at work at once end the test.
func (c *site) stamps(release string) []worked {
	c.t.Helper()
	all := c.read(release)
	for i := 1; i < len(all); i++ {
		if all[i].first <= all[i-1].last {
			c.t.Fatalf("a promise is broken: two at work: %v and %v", all[i-1], all[i])
		}
	}
	return all
}

// works is who works now, by its stamps.
func (c *site) works(release string) worked {
	c.t.Helper()
	all := c.stamps(release)
	if len(all) == 0 {
		return worked{}
	}
	return all[len(all)-1]
}

func stamp(t *testing.T, line string) time.Duration {
	n, err := strconv.ParseInt(line, 10, 64)
	lab.Must(t, err)
	return time.Duration(n)
}

// gap is for how long nobody worked since so many terms, and how often the role moved.
func gap(all []worked, since int) (sum time.Duration, moves int) {
	for i := since; i < len(all); i++ {
		sum += all[i].first - all[i-1].last
		moves++
	}
	return sum, moves
}
