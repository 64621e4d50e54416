package kv

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"net/url"
	"strings"
	"sync"

	"github.com/understudy-ha/understudy/lock"
)

var _ lock.Values = (*locker)(nil)

// limits are those that every such store takes as it comes: Consul allows 64 operations in a
// transaction, of which a put takes two, and half a mebibyte, in which a value takes four thirds of
// its size; etcd allows more.
var limits = lock.Limits{Keys: 16, Write: 256 << 10, Total: 64 << 20}

func (l *locker) Limits(context.Context) (lock.Limits, error) { return limits, nil }

// A valueHeader is the first line of a value. The rest is the value as it was given.
type valueHeader struct{ header }

func encodeValue(value []byte) []byte {
	return append(append(encode(valueHeader{newHeader()}), '\n'), value...)
}

// decodeValue reads a value; nil: there is none.
func decodeValue(r Record) ([]byte, error) {
	if r.Revision == 0 {
		return nil, nil
	}
	head, value, _ := bytes.Cut(r.Value, []byte("\n"))
	if _, err := decode[valueHeader](Record{Key: r.Key, Value: head, Revision: r.Revision}); err != nil {
		return nil, err
	}
	return append([]byte{}, value...), nil
}

func (k keys) values() string { return string(k) + "value/" }

// value is the key of a value: its parts are escaped, not its slashes.
func (k keys) value(name string) string {
	parts := strings.Split(name, "/")
	for i, part := range parts {
		parts[i] = escape(part)
	}
	return k.values() + strings.Join(parts, "/")
}

// valueNamed is the name of a value; "": the key is not one of ours.
func (k keys) valueNamed(key string) string {
	name, _ := url.PathUnescape(strings.TrimPrefix(key, k.values()))
	if k.value(name) != key {
		return ""
	}
	return name
}

// A memo is what this Locker's own writes left in the keys that the next one will compare: so
// that it need not read them first. It only ever leads to a commit, which compares.
type memo struct {
	mu    sync.Mutex
	known map[string]Record
}

// get returns the records of the keys if it has them all.
func (m *memo) get(keys []string) (v View, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, key := range keys {
		r, known := m.known[key]
		if !known {
			return View{}, false
		}
		v.Records = append(v.Records, r)
	}
	return v, true
}

// put replaces what is known.
func (m *memo) put(records []Record) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.known) > 1<<10 { // roles come and go
		m.known = nil
	}
	if m.known == nil {
		m.known = map[string]Record{}
	}
	for _, r := range records {
		m.known[r.Key] = r
	}
}

// forget what a write may have changed.
func (m *memo) forget(keys []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, key := range keys {
		delete(m.known, key)
	}
}

func (l *locker) Write(ctx context.Context, role string, t lock.Token, changes, when map[string][]byte) (lock.Token, error) {
	if err := limits.CheckWrite(role, changes, when); err != nil {
		return 0, err
	}
	current, err := l.write(ctx, role, t, changes, when)
	if err != nil {
		return current, fmt.Errorf("write values: %w", err)
	}
	return current, nil
}

func (l *locker) write(ctx context.Context, name string, t lock.Token, changes, when map[string][]byte) (lock.Token, error) {
	compared := []string{l.keys.role(name)}
	for key := range when {
		compared = append(compared, l.keys.value(key))
	}
	found, ok := l.memo.get(compared)
	if ok {
		_, _, err := l.writing(found, name, t, changes, when)
		ok = err == nil
	}
	if !ok {
		var err error
		if found, err = l.readHere(ctx, compared...); err != nil {
			return 0, err
		}
	}
	for {
		current, txn, err := l.writing(found, name, t, changes, when)
		if err != nil {
			return current, err
		}
		done, err := l.commitHere(ctx, txn)
		l.memo.forget(compared)
		switch {
		case err != nil:
			return 0, err
		case done.Committed:
			l.remember(found.Get(compared[0]), done.Revision, txn, when)
			return t, nil
		}
		found = done.Found
	}
}

// writing is the transaction that writes, where what was found allows it.
func (l *locker) writing(found View, name string, t lock.Token, changes, when map[string][]byte) (current lock.Token, txn Txn, err error) {
	key := l.keys.role(name)
	role, err := decodeRole(found.Get(key))
	if err != nil {
		return 0, Txn{}, err
	}
	if !role.held() || role.token() != t {
		return role.token(), Txn{}, lock.ErrMoved
	}
	txn.Guards = append(txn.Guards, Guard{Key: key, Revision: role.revision})
	for name, want := range when {
		r := found.Get(l.keys.value(name))
		is, err := decodeValue(r)
		if err != nil {
			return 0, Txn{}, err
		}
		if (is == nil) != (want == nil) || !bytes.Equal(is, want) {
			return t, Txn{}, lock.ErrDiffers
		}
		txn.Guards = append(txn.Guards, Guard{Key: r.Key, Revision: r.Revision})
	}
	for name, value := range changes {
		w := Write{Key: l.keys.value(name)}
		if value != nil {
			w.Value = encodeValue(value)
		}
		txn.Writes = append(txn.Writes, w)
	}
	return t, txn, nil
}

// remember notes what a commit left in the role's record and in what it compared.
func (l *locker) remember(role Record, revision uint64, t Txn, when map[string][]byte) {
	known := []Record{role}
	for _, w := range t.Writes {
		if _, compared := when[l.keys.valueNamed(w.Key)]; compared && w.Value != nil {
			known = append(known, Record{Key: w.Key, Value: w.Value, Revision: revision})
		}
	}
	l.memo.put(known)
}

func (l *locker) Read(ctx context.Context, keys ...string) (map[string][]byte, error) {
	if err := limits.CheckKeys(keys...); err != nil {
		return nil, err
	}
	all := []string{l.keys.values()}
	if len(keys) > 0 {
		all = nil
	}
	for _, key := range keys {
		all = append(all, l.keys.value(key))
	}
	found, err := l.readHere(ctx, all...)
	values := map[string][]byte{}
	for _, r := range found.Records {
		name := l.keys.valueNamed(r.Key)
		if err != nil || name == "" {
			continue
		}
		values[name], err = decodeValue(r)
	}
	if err != nil {
		return nil, fmt.Errorf("read values: %w", err)
	}
	return values, nil
}

// Follow reads the value, and follows its key from there.
func (l *locker) Follow(ctx context.Context, key string) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		bad, at := limits.CheckKeys(key), l.keys.value(key)
		for going := true; going && ctx.Err() == nil; {
			going = l.follow(ctx, at, bad, func(value []byte, err error) bool {
				if err != nil && ctx.Err() != nil {
					return false
				}
				if err != nil {
					err = fmt.Errorf("follow a value: %w", err)
				}
				return yield(value, err) && l.open.Err() == nil
			})
		}
	}
}

// follow does so until that fails; false: the consumer has enough.
func (l *locker) follow(ctx context.Context, key string, bad error, yield func([]byte, error) bool) bool {
	if bad != nil {
		return yield(nil, bad)
	}
	found, err := l.readHere(ctx, key)
	if err != nil {
		return yield(nil, err)
	}
	value, err := decodeValue(found.Get(key))
	if !yield(value, err) {
		return false
	}
	for step, err := range l.bare.Follow(ctx, found, key) {
		if err == nil {
			value, err = decodeValue(step[len(step)-1])
		}
		if !yield(value, err) {
			return false
		}
		if err != nil {
			return true
		}
	}
	return ctx.Err() == nil
}
