// Package zookeeper is a store of one's own on ZooKeeper, written by docs/backend.md: the znode of a group of contenders
// is an object.Object. It is an example: it knows neither users nor TLS, and everybody who reaches the servers may write.
//
// The value is the only child of the group's znode, and that child's name is a random word. For ZooKeeper compares a version
// that begins anew when a znode is deleted and made again; with the word it is another path then.
package zookeeper

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"path"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/understudy-ha/understudy/backends/object"
	"github.com/understudy-ha/understudy/lock"
)

// A Config says where the store is.
type Config struct {
	Servers []string  // HOST:PORT of each
	Path    string    // of the group's znode, such as /understudy/billing
	Dial    zk.Dialer // nil: net.DialTimeout
}

// limit is how many bytes a value may have: what a server takes in one packet, less what is around it.
const limit = 1<<20 - 4<<10

// Open returns a Locker on a group's znode. It connects when it is first used.
func Open(c Config) lock.Locker { return object.Open(newStore(c), limit) }

type store struct {
	Config
	ctx    context.Context // of everything, until Close
	cancel context.CancelCauseFunc
	group  sync.WaitGroup

	mu   sync.Mutex
	link *link // the last connection; nil: there was none yet
}

var _ object.Object = (*store)(nil)

func newStore(c Config) *store {
	s := &store{Config: c}
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	return s
}

// Get is object.Object's. A server may be behind the leader, so it has to catch up first. The leader itself does not, and may
// be behind its followers by a moment: see docs/backend.md.
func (s *store) Get(ctx context.Context) (object.Value, error) { return with(ctx, s, s.get) }

func (s *store) get(l *link) (v object.Value, err error) {
	if _, err := l.conn.Sync(s.Path); err != nil {
		return v, err
	}
	words, _, err := l.conn.Children(s.Path)
	switch {
	case errors.Is(err, zk.ErrNoNode) || err == nil && len(words) == 0:
		return v, nil
	case err != nil:
		return v, err
	case len(words) > 1:
		return v, lock.Permanent(fmt.Errorf("%w: %s has %d children, and not one; name another path", object.ErrForeign, s.Path, len(words)))
	}
	data, stat, err := l.read(path.Join(s.Path, words[0]))
	if errors.Is(err, zk.ErrNoNode) { // it was deleted in between
		return v, nil
	}
	if err != nil {
		return v, err
	}
	return l.value(words[0], stat.Version, data), nil
}

// Put is object.Object's. After a backup was restored ZooKeeper gives the same versions again. Nobody stays connected through
// that, so where it was another connection that told of the version, the value is read first: its content is another then.
func (s *store) Put(ctx context.Context, data []byte, old string) (object.Value, error) {
	return with(ctx, s, func(l *link) (v object.Value, err error) {
		if old == "" {
			return s.create(l, data)
		}
		if l.last() != old {
			if v, err = s.get(l); err != nil || v.Version != old {
				return v, cmp.Or(err, object.ErrConflict)
			}
		}
		word, number, err := parse(old)
		if err == nil && number < 0 { // -1 would be any version
			err = lock.Permanent(fmt.Errorf("%s was written two thousand million times; delete it", s.Path))
		}
		if err != nil {
			return object.Value{}, err
		}
		stat, err := l.conn.Set(path.Join(s.Path, word), data, number)
		if errors.Is(err, zk.ErrBadVersion) || errors.Is(err, zk.ErrNoNode) {
			return object.Value{}, object.ErrConflict
		}
		if err != nil {
			return object.Value{}, err
		}
		return l.value(word, stat.Version, data), nil
	})
}

// create makes the group's znode and its child at once, so that one of several succeeds. A znode without a child is in the
// way, and is replaced.
func (s *store) create(l *link, data []byte) (v object.Value, err error) {
	there, _, err := l.conn.Exists(s.Path)
	if err != nil {
		return v, err
	}
	word, anybody := rand.Text(), zk.WorldACL(zk.PermAll)
	var all []any
	if there {
		all = append(all, &zk.DeleteRequest{Path: s.Path, Version: -1})
	}
	all = append(all, &zk.CreateRequest{Path: s.Path, Acl: anybody}, &zk.CreateRequest{Path: path.Join(s.Path, word), Data: data, Acl: anybody})
	_, err = l.conn.Multi(all...)
	for _, other := range []error{zk.ErrNodeExists, zk.ErrNotEmpty, zk.ErrNoNode} {
		if errors.Is(err, other) {
			return v, object.ErrConflict
		}
	}
	if err != nil {
		return v, err
	}
	return l.value(word, 0, data), nil
}

// Changed is object.Object's. Every read leaves a watch behind. What does not exist yet has none, and is looked for.
func (s *store) Changed(ctx context.Context, version string) (object.Value, error) {
	v, err := s.Get(ctx)
	if err != nil || v.Version != version {
		return v, err
	}
	l, err := s.current(ctx)
	if err != nil {
		return object.Value{}, err
	}
	ear, look := l.listen(), make(<-chan time.Time)
	switch {
	case version == "":
		look = time.After(100 * time.Millisecond)
	case ear == nil: // there was news meanwhile
		return object.Value{}, nil
	}
	select {
	case <-ear:
	case <-look:
	case <-ctx.Done():
		return object.Value{}, context.Cause(ctx)
	case <-l.ctx.Done():
		return object.Value{}, context.Cause(l.ctx)
	}
	return object.Value{}, nil
}

// Start is object.Object's: the number of a write now. Each write in the whole ensemble has a greater one, whatever is
// deleted. The eight bits below leave room for the commands of one write.
func (s *store) Start(ctx context.Context) (uint64, error) {
	return with(ctx, s, func(l *link) (uint64, error) {
		count := s.Path + ".start"
		for i := 1; i <= len(count); i++ {
			if i < len(count) && count[i] != '/' {
				continue
			}
			if _, err := l.conn.Create(count[:i], nil, 0, zk.WorldACL(zk.PermAll)); err != nil && !errors.Is(err, zk.ErrNodeExists) {
				return 0, err
			}
		}
		stat, err := l.conn.Set(count, nil, -1)
		if err != nil {
			return 0, err
		}
		return uint64(stat.Mzxid) << 8, nil
	})
}

var errClosed = errors.New("the locker is closed")

// Close is object.Object's.
func (s *store) Close() error {
	s.mu.Lock() // nothing begins after it
	s.cancel(errClosed)
	s.mu.Unlock()
	s.group.Wait()
	return nil
}

// version is a child's name and version, and what is in it: no two values have the same content.
func version(word string, number int32, data []byte) string {
	return fmt.Sprintf("%s %d %x", word, number, sha256.Sum256(data))
}

func parse(version string) (word string, number int32, err error) {
	_, err = fmt.Sscanf(version, "%s %d", &word, &number)
	return word, number, err
}
