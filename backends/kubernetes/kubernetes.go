// Package kubernetes keeps the contract of package lock in one Lease of a Kubernetes cluster. Package
// object says what is in its record, and what each call does. See docs/kubernetes.md.
package kubernetes

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/understudy-ha/understudy/backends/object"
	"github.com/understudy-ha/understudy/lock"
)

// Open returns a Locker on the Lease. It connects when it is first used.
func Open(_ context.Context, c Config) (l lock.Locker, err error) {
	s, err := newStore(c)
	if err == nil {
		l = object.Open(s, limit)
	}
	return l, err
}

// limit is how many bytes a record may have. All annotations of an object may have 256 KiB, with their keys;
// 16 of them are other people's.
const limit = 240 << 10

// A store is the Lease.
type store struct {
	*wire
	lease string
	all   string // the path of the namespace's Leases
	news  news
}

var _ object.Object = (*store)(nil)

func newStore(c Config) (*store, error) {
	w, err := newWire(c)
	if err != nil {
		return nil, err
	}
	return &store{
		wire: w, lease: cmp.Or(c.Lease, DefaultName), news: newNews(),
		all: "/apis/coordination.k8s.io/v1/namespaces/" + w.namespace + "/leases",
	}, nil
}

// Get is object.Object's. It names no resourceVersion: with one, the API server may answer from a cache,
// which after a restore shows what was lost, and for good.
func (s *store) Get(ctx context.Context) (object.Value, error) {
	l, there, err := s.read(ctx)
	if err != nil || !there {
		return object.Value{}, err
	}
	return l.value()
}

func (s *store) read(ctx context.Context) (l lease, there bool, err error) {
	err = s.do(ctx, http.MethodGet, s.all+"/"+s.lease, nil, nil, &l)
	if is(err, http.StatusNotFound) {
		return l, false, nil
	}
	return l, err == nil, s.named(ctx, err)
}

// Put is object.Object's. A first record goes into an empty Lease, which Start or an operator has made.
func (s *store) Put(ctx context.Context, data []byte, old string) (v object.Value, err error) {
	var l lease
	var was version
	if old != "" {
		if was, err = parse(old); err != nil {
			return v, err
		}
	} else {
		there := false
		if l, there, err = s.read(ctx); err != nil {
			return v, err
		}
		if v, err = l.value(); err != nil || v.Version != "" || !there {
			return v, cmp.Or(err, object.ErrConflict)
		}
		was = l.version()
	}
	at := time.Now()
	now, err := specOf(data, was, at)
	if err != nil {
		return v, err
	}
	write := s.news.next(stamp(at))
	err = s.do(ctx, http.MethodPatch, s.all+"/"+s.lease, nil, l.patch(data, write, was, now), &l)
	switch {
	case is(err, http.StatusConflict, http.StatusNotFound):
		return v, object.ErrConflict
	case is(err, http.StatusUnprocessableEntity):
		return s.judge(ctx, was, err)
	case err != nil:
		return v, s.named(ctx, err)
	}
	return l.value()
}

// judge distinguishes a patch whose tests failed from one that the API server refuses. Neither was written.
func (s *store) judge(ctx context.Context, was version, why error) (object.Value, error) {
	l, _, err := s.read(ctx)
	if err != nil {
		return object.Value{}, err
	}
	if l.version() == was {
		if invalid(why) {
			return object.Value{}, lock.Permanent(why)
		}
		return object.Value{}, fmt.Errorf("%w (%w)", errCache, why)
	}
	v, err := l.value()
	return v, cmp.Or(err, object.ErrConflict)
}

// errCache means that the API server still has in its cache a Lease of the same resourceVersion from before etcd was
// restored. It applies the patch to that one, whose tests fail, while its reads show the restored one.
var errCache = errors.New("the API server patches another Lease than it reads; restart every API server, as Kubernetes demands after a restore of etcd")

// Start is object.Object's. Each write of any object raises the cluster's resourceVersion, and a record's write
// has far less than 65536 commands: so a record that begins in a Lease which is younger than every
// earlier record begins above all that they came to.
func (s *store) Start(ctx context.Context) (uint64, error) {
	l, there, err := s.read(ctx)
	if err == nil && !there {
		blank := lease{APIVersion: "coordination.k8s.io/v1", Kind: "Lease", Metadata: meta{Name: s.lease}}
		err = s.do(ctx, http.MethodPost, s.all, nil, blank, &l)
		if is(err, http.StatusConflict) { // another one has made it
			l, _, err = s.read(ctx)
		} else if is(err, http.StatusNotFound) {
			return 0, lock.Permanent(lock.InFields(fmt.Errorf("there is no namespace %s (%w); make it, or name another", s.namespace, err), "Namespace"))
		}
	}
	if err != nil {
		return 0, s.named(ctx, err)
	}
	n, err := strconv.ParseUint(l.Metadata.ResourceVersion, 10, 47)
	if err != nil {
		return 0, lock.Permanent(fmt.Errorf("resourceVersion %q is not a number below 2^47: no token can be made of it: %w", l.Metadata.ResourceVersion, err))
	}
	return n << 16, nil
}

// is reports whether the API server answered with one of these codes.
func is(err error, codes ...int) bool {
	var s *status
	if !errors.As(err, &s) || s.Code == http.StatusNotFound && s.Details.Kind == "" { // that is a path which is not there
		return false
	}
	return slices.Contains(codes, s.Code)
}

// invalid reports whether the API server names fields that it does not take.
func invalid(err error) bool {
	var s *status
	return errors.As(err, &s) && len(s.Details.Causes) > 0
}

// named says what to do about an error, and whether trying again can help.
func (s *store) named(ctx context.Context, err error) error {
	switch {
	case is(err, http.StatusForbidden):
		return s.refused(ctx, fmt.Errorf("%w; see docs/kubernetes.md for the rights", err))
	case is(err, http.StatusRequestEntityTooLarge):
		return lock.Permanent(err)
	}
	return err
}

// Changed is object.Object's. It only tells that there is news: what a watch shows may be a cache.
func (s *store) Changed(ctx context.Context, version string) (object.Value, error) {
	s.news.once.Do(func() { s.spawn(s.listen) })
	return object.Value{}, s.news.wait(ctx, version)
}

// Inspect returns HOST:PORT of the API server, if it answers.
func Inspect(ctx context.Context, c Config) (address string, err error) {
	c.Logger = nil
	s, err := newStore(c)
	if err == nil {
		_, _, err = s.read(ctx)
		address = s.host
		err = errors.Join(err, s.Close())
	}
	return address, err
}

// Close is object.Object's.
func (s *store) Close() error {
	s.close()
	return nil
}

// query is one that names the Lease, as a right on it alone demands.
func (s *store) query() url.Values {
	return url.Values{"watch": {"1"}, "fieldSelector": {"metadata.name=" + s.lease}, "allowWatchBookmarks": {"true"}}
}
