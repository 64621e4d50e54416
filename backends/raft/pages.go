package raft

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"

	"github.com/understudy-ha/understudy/internal/lack"
)

// bbolt sums up the two first pages of its file and nothing else. One bit of another page's head hides the last entries of the
// log, or leads bbolt in a circle until the machine has no memory left. So each page that counts is looked at before bbolt
// follows it: bbolt writes keys in their order, and one behind the other, from where the elements end.
const (
	pageHead    = 16 // bytes: the number of the page, its kind, its number of elements, and how many more pages it takes
	pageElement = 16 // bytes, before all keys and values: where its own are, and how long
	bucketHead  = 16 // bytes of the value of a bucket: its page, or 0 where that is the rest of the value

	branchPage, leafPage = 1, 2
)

// A pageError is about a page that is not as bbolt writes it.
type pageError uint64

func (e pageError) Error() string {
	return fmt.Sprintf("its page %d is not what was written", uint64(e))
}

// pages are those of a raft.db.
type pages struct {
	file *os.File
	size int64  // of each
	end  uint64 // one more than the greatest number
	seen map[uint64]bool
}

// lookAtPages reads each page of a raft.db that nobody writes to, once.
func lookAtPages(path string) error {
	name := filepath.Join(path, logFile)
	db, err := bbolt.Open(name, 0o600, &bbolt.Options{ReadOnly: true, Timeout: time.Second})
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }() // it was only read
	return db.View(func(tx *bbolt.Tx) error {
		_, err := lookAt(tx, name)
		return err
	})
}

// lookAt returns the pages that it has looked at.
func lookAt(tx *bbolt.Tx, name string) (map[uint64]bool, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // it was only read
	size := int64(tx.DB().Info().PageSize)
	p := &pages{file: file, size: size, end: uint64(tx.Size() / size), seen: map[uint64]bool{}}
	err = p.follow(uint64(tx.Cursor().Bucket().Root()))
	return p.seen, err
}

// unfollowed is what a page that could not be followed says of its directory.
func unfollowed(path string, err error) error {
	if lack.Is(err) { // the file itself may be whole
		return fmt.Errorf("data directory %s: %s: %w", path, logFile, err)
	}
	return partial(path, "%s is damaged: %v", logFile, err)
}

// follow looks at a page, and at those below it.
func (p *pages) follow(id uint64) error {
	if id < 2 || id >= p.end || p.seen[id] {
		return pageError(id)
	}
	p.seen[id] = true
	head := make([]byte, pageHead)
	if _, err := p.file.ReadAt(head, int64(id)*p.size); err != nil {
		return err
	}
	more := uint64(binary.NativeEndian.Uint32(head[12:]))
	if binary.NativeEndian.Uint64(head) != id || id+more >= p.end {
		return pageError(id)
	}
	data := make([]byte, (1+int64(more))*p.size)
	if _, err := p.file.ReadAt(data, int64(id)*p.size); err != nil {
		return err
	}
	return p.look(id, data)
}

// look looks at what the page with this number holds.
func (p *pages) look(id uint64, data []byte) error {
	if len(data) < pageHead {
		return pageError(id)
	}
	kind, count := binary.NativeEndian.Uint16(data[8:]), int(binary.NativeEndian.Uint16(data[10:]))
	next := pageHead + count*pageElement
	if kind != branchPage && kind != leafPage || kind == branchPage && count == 0 || next > len(data) {
		return pageError(id)
	}
	var last []byte
	for i := range count {
		begin := pageHead + i*pageElement
		e := elementOf(kind, data[begin:][:pageElement])
		if e.key == 0 || begin+e.at != next || e.key+e.value > len(data)-next {
			return pageError(id)
		}
		key, value := data[next:][:e.key], data[next+e.key:][:e.value]
		if next += e.key + e.value; i > 0 && bytes.Compare(last, key) >= 0 {
			return pageError(id)
		}
		last = key
		if err := p.below(id, kind, e, value); err != nil {
			return err
		}
	}
	return nil
}

// below looks at what is below an element: a page, or the bucket that a value is.
func (p *pages) below(id uint64, kind uint16, e element, value []byte) error {
	switch {
	case kind == branchPage:
		return p.follow(e.page)
	case e.bucket == 0:
		return nil
	case e.bucket > 1 || len(value) < bucketHead:
		return pageError(id)
	}
	if root := binary.NativeEndian.Uint64(value); root != 0 {
		return p.follow(root)
	}
	return p.look(id, value[bucketHead:])
}

// An element is of a page.
type element struct {
	bucket         uint32 // 1: the value is a bucket
	at, key, value int    // where its key begins, from the element on, and the bytes of key and value
	page           uint64 // below it
}

func elementOf(kind uint16, data []byte) element {
	number := func(at int) int { return int(binary.NativeEndian.Uint32(data[at:])) }
	if kind == branchPage {
		return element{at: number(0), key: number(4), page: binary.NativeEndian.Uint64(data[8:])}
	}
	return element{bucket: binary.NativeEndian.Uint32(data), at: number(4), key: number(8), value: number(12)}
}
