package state

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"

	"github.com/understudy-ha/understudy/lock"
)

// format is that of the records below.
const format = 1

// A head is the one record that says what the log is. Whatever exists beside it, it names.
type head struct {
	Format   int
	Token    lock.Token // of the term that wrote it
	Nonce    string     // of this write
	First    uint64     // entries from here
	Last     uint64     // to here exist; 0: there is none yet
	Link     string     // the nonce of the last one
	Bytes    int        // of the entries after the snapshot
	Snapshot image      `json:",omitzero"` // the current one
	Writing  image      `json:",omitzero"` // the one that is being written
	Trash    []image    `json:",omitempty"`
	Skip     []Command  `json:",omitempty"` // after the snapshot
}

// An image is a snapshot: the state after the entry at its position.
type image struct {
	Position uint64
	Link     string // the nonce of that entry
	Chunks   int
	Size     int
	Sum      string // SHA-256
}

// An entry is what one commit appended. Its record is this, in one line, and then the commands. The
// first entry of a term has none: it is the term's marker.
type entry struct {
	Format int
	Token  lock.Token
	Nonce  string
	After  string // the nonce of the entry before
	Sizes  []int  `json:",omitempty"` // of the commands

	commands [][]byte
}

// keys are the names of the records of a role.
type keys string

func keysOf(role string) keys { return keys("state/" + url.PathEscape(role) + "/") }

func (k keys) head() string                 { return string(k) + "head" }
func (k keys) entry(position uint64) string { return fmt.Sprintf("%sentry/%020d", string(k), position) }

func (k keys) chunk(position uint64, i int) string {
	return fmt.Sprintf("%ssnapshot/%020d/%06d", string(k), position, i)
}

func newEntry(t lock.Token, after string, commands [][]byte) entry {
	e := entry{Format: format, Token: t, Nonce: rand.Text(), After: after, commands: commands}
	for _, c := range commands {
		e.Sizes = append(e.Sizes, len(c))
	}
	return e
}

func (e entry) encode() []byte {
	return append(append(encode(e), '\n'), bytes.Join(e.commands, nil)...)
}

func encode(record any) []byte {
	text, err := json.Marshal(record)
	if err != nil {
		panic(err) // none of them holds anything that JSON cannot
	}
	return text
}

// decodeHead reads the head; the one of an empty log if there is none.
func decodeHead(key string, value []byte) (h head, err error) {
	if value == nil {
		return head{First: 1}, nil
	}
	return h, decode(key, value, &h)
}

func decodeEntry(key string, value []byte) (e entry, err error) {
	line, rest, _ := bytes.Cut(value, []byte("\n"))
	if err := decode(key, line, &e); err != nil {
		return entry{}, err
	}
	for _, size := range e.Sizes {
		if size < 0 || size > len(rest) {
			return entry{}, foreign(key)
		}
		e.commands = append(e.commands, slices.Clip(rest[:size]))
		rest = rest[size:]
	}
	if len(rest) > 0 {
		return entry{}, foreign(key)
	}
	return e, nil
}

func decode(key string, text []byte, record any) error {
	var f struct{ Format int }
	if json.Unmarshal(text, &f) != nil || f.Format < 1 {
		return foreign(key)
	}
	if f.Format > format {
		return lock.Permanent(fmt.Errorf("key %q has format %d, this program knows %d: use the newer program", key, f.Format, format))
	}
	if json.Unmarshal(text, record) != nil {
		return foreign(key)
	}
	return nil
}

func foreign(key string) error {
	return lock.Permanent(fmt.Errorf("the value of key %q is not one of this package's: restore what was there from a backup of the store", key))
}
