package kubernetes

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	jitter "math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// news is what a watch has told. Only the latest counts, and it counts once.
type news struct {
	once *sync.Once
	me   string // in the write of every version that is ours
	told chan string
}

func newNews() news {
	return news{once: new(sync.Once), me: rand.Text(), told: make(chan string, 1)}
}

var writes atomic.Uint64

// next names a write of ours, made at this time.
func (n news) next(at string) string { return fmt.Sprintf("%s/%s-%d", at, n.me, writes.Add(1)) }

// tell has wait return, unless this process wrote the version: it already has the answer.
func (n news) tell(version string) {
	if strings.Contains(version, "/"+n.me+"-") {
		return
	}
	for {
		select {
		case n.told <- version:
			return
		default:
		}
		select {
		case <-n.told:
		default:
		}
	}
}

// wait returns when another version than this was told.
func (n news) wait(ctx context.Context, version string) error {
	for {
		select {
		case told := <-n.told:
			if told != version {
				return nil
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// How long one watch lasts at most, how long it may be silent (bookmarks come about once a minute), and
// what passes until the next where it failed.
const (
	watchFor  = 30 * time.Minute
	silence   = 3 * time.Minute
	leastWait = 100 * time.Millisecond
	mostWait  = time.Second
)

// listen keeps up a watch until the store is closed.
func (s *store) listen() {
	pause, refused := leastWait, false
	for s.ctx.Err() == nil {
		begun := time.Now()
		err := s.watch()
		if denied := is(err, http.StatusForbidden); denied != refused {
			if refused = denied; denied && s.config.Logger != nil {
				s.config.Logger.Warn("the watch on the Lease is refused: what happens is seen later; see docs/kubernetes.md for the rights", "error", err)
			}
		}
		if pause = min(2*pause, mostWait); time.Since(begun) > mostWait {
			pause = leastWait
		}
		select {
		case <-time.After(pause + jitter.N(pause)):
		case <-s.ctx.Done():
		}
	}
}

// watch reads one watch to its end. It begins with what is there, which is news if it is not known.
func (s *store) watch() error {
	ctx, cancel := context.WithTimeout(s.ctx, watchFor)
	defer cancel()
	alive := time.AfterFunc(silence, cancel)
	defer alive.Stop()
	res, err := s.send(ctx, http.MethodGet, s.all, s.query(), nil)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	for lines := json.NewDecoder(res.Body); ; {
		var e struct {
			Type   string
			Object lease
		}
		if err := lines.Decode(&e); err != nil {
			if err == io.EOF {
				return nil
			}
			return err
		}
		alive.Reset(silence)
		switch e.Type {
		case "ERROR":
			return fmt.Errorf("the watch ended: %s", e.Object.Kind)
		case "BOOKMARK":
		default:
			s.news.tell(e.Object.version().String())
		}
	}
}
