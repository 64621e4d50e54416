package main

import (
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/understudy-ha/understudy/lock"
)

// A command creates or drops a collection, or a partition of one. It is done once for its Key.
type command struct {
	Key   string
	Path  []string // COLLECTION, or COLLECTION PARTITION
	Drop  bool
	About string     // what the client keeps with it
	Token lock.Token // of the term that appended it
}

// sum tells one request from another; a retry may come in a later term.
func (c command) sum() string {
	c.Token = 0
	return fmt.Sprintf("%x", sha256.Sum256(encode(c)))[:16]
}

// An entry is a collection with its partitions, or a partition. IDs count up as entries are created.
type entry struct {
	ID         uint64
	Token      lock.Token
	About      string
	Partitions map[string]*entry
}

// An outcome is what came of a command.
type outcome struct {
	Of     string // the command's sum
	Status int
	ID     uint64
	Token  lock.Token
}

// meta is the machine: the metadata, and the outcomes of the latest commands by their keys. What Apply
// does depends on nothing but the commands.
type meta struct {
	Created     uint64 // the last ID
	Collections map[string]*entry
	Outcomes    map[string]outcome
	Keys        []string // of Outcomes, the oldest first
}

// remembered is for how many commands a retry finds what came of the first attempt.
const remembered = 4096

func newMeta() *meta {
	return &meta{Collections: map[string]*entry{}, Outcomes: map[string]outcome{}}
}

func (m *meta) Apply(text []byte) {
	var c command
	if err := json.Unmarshal(text, &c); err != nil || len(c.Path) == 0 || m.Outcomes[c.Key].Of != "" { // not ours, or a retry
		return
	}
	status := m.do(c)
	m.Outcomes[c.Key], m.Keys = outcome{c.sum(), status, m.Created, c.Token}, append(m.Keys, c.Key)
	if len(m.Keys) > remembered {
		delete(m.Outcomes, m.Keys[0])
		m.Keys = m.Keys[1:]
	}
}

// find returns where a path's last name belongs; nil: the collection is missing.
func (m *meta) find(path []string) (in map[string]*entry, name string) {
	if len(path) == 1 {
		return m.Collections, path[0]
	}
	if of := m.Collections[path[0]]; of != nil {
		in = of.Partitions
	}
	return in, path[1]
}

func (m *meta) do(c command) (status int) {
	in, name := m.find(c.Path)
	switch exists := in[name] != nil; {
	case in == nil, c.Drop && !exists:
		return http.StatusNotFound
	case c.Drop:
		delete(in, name)
		return http.StatusNoContent
	case exists:
		return http.StatusConflict
	}
	m.Created++
	in[name] = &entry{m.Created, c.Token, c.About, map[string]*entry{}}
	return http.StatusCreated
}

// Snapshot packs what it writes: one entry is much like the next.
func (m *meta) Snapshot(w io.Writer) error {
	z := gzip.NewWriter(w)
	_, err := z.Write(encode(m))
	return errors.Join(err, z.Close())
}

func (m *meta) Restore(r io.Reader) error {
	z, err := gzip.NewReader(r)
	if err != nil {
		return err
	}
	return json.NewDecoder(z).Decode(m)
}

// encode has maps in order.
func encode(v any) []byte {
	text, _ := json.Marshal(v) // there is nothing here that JSON cannot
	return text
}
