package raft

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"runtime"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
)

// bbolt sums up the head of its file and nothing else. One bit of an entry that is another would be
// applied, and a node that led by it could grant a role that somebody holds. So what a node goes by has
// sums of ours: an entry in its Extensions, which the library keeps and does not read, and what it knows of terms
// and votes behind the value, where programs that know no sums do not look. What such a program
// wrote has none, and is believed.

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)

	// seal stands between a value and its sum.
	seal = make([]byte, 4)

	errDamaged = errors.New("is not what was written: its sum is another")
)

// sumOf is over all of an entry that counts.
func sumOf(l *raft.Log) []byte {
	head := binary.BigEndian.AppendUint64(nil, l.Index)
	head = binary.BigEndian.AppendUint64(head, l.Term)
	sum := crc32.Checksum(append(head, byte(l.Type)), castagnoli)
	return binary.BigEndian.AppendUint32(nil, crc32.Update(sum, castagnoli, l.Data))
}

// summed returns copies with sums: the library goes on using its own, and sends them.
func summed(logs []*raft.Log) []*raft.Log {
	all := make([]*raft.Log, len(logs))
	for i, l := range logs {
		one := *l
		one.Extensions = sumOf(l)
		all[i] = &one
	}
	return all
}

// entryAt reads an entry, as it was given to summed.
func entryAt(bolt *raftboltdb.BoltStore, index uint64, l *raft.Log) error {
	*l = raft.Log{}
	err := bolt.GetLog(index, l)
	if err != nil {
		return err
	}
	if l.Index != index || len(l.Extensions) > 0 && !bytes.Equal(l.Extensions, sumOf(l)) {
		return errDamaged
	}
	l.Extensions = nil
	return nil
}

func sealed(key, value []byte) []byte {
	sum := crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, value)
	return binary.BigEndian.AppendUint32(append(bytes.Clone(value), seal...), sum)
}

func unsealed(key, data []byte) (value []byte, ok bool) {
	if n := len(data) - len(seal) - crc32.Size; n >= 0 && bytes.Equal(data, sealed(key, data[:n])) {
		return data[:n], true
	}
	return nil, false
}

// valueAt reads a value as it was given to sealed. Without a seal it is a number or an address.
func valueAt(bolt *raftboltdb.BoltStore, key []byte) ([]byte, error) {
	data, err := bolt.Get(key)
	if err != nil {
		return nil, err
	}
	if value, ok := unsealed(key, data); ok {
		return value, nil
	}
	if len(data) != 8 && bytes.IndexByte(data, 0) >= 0 {
		return nil, fmt.Errorf("%s %w", key, errDamaged)
	}
	return data, nil
}

// numberAt reads a number that was sealed. There is none with errNoKey.
func numberAt(bolt *raftboltdb.BoltStore, key []byte) (uint64, error) {
	data, err := valueAt(bolt, key)
	if err != nil {
		return 0, err
	}
	if len(data) != 8 {
		return 0, fmt.Errorf("%s %w", key, errDamaged)
	}
	return binary.BigEndian.Uint64(data), nil
}

// termAt returns the term that a node knows, where all that raft.db says of terms and votes can be read. Where the
// record says that all of it is sealed, a value that is missing is not a vote that was never given.
func termAt(bolt *raftboltdb.BoltStore, all bool) (term uint64, err error) {
	for _, key := range [][]byte{votedKey, votedForKey, termKey} {
		data, err := bolt.Get(key)
		if errors.Is(err, errNoKey) && all {
			return 0, fmt.Errorf("it lacks %s", key)
		}
		if _, ok := unsealed(key, data); all && err == nil && !ok {
			return 0, fmt.Errorf("%s %w", key, errDamaged)
		}
	}
	voted, err := numberAt(bolt, votedKey)
	_, err2 := valueAt(bolt, votedForKey)
	term, err3 := numberAt(bolt, termKey)
	for _, err := range []error{err, err2, err3} {
		if err != nil && !errors.Is(err, errNoKey) {
			return 0, err
		}
	}
	if voted > term {
		return 0, fmt.Errorf("it has a vote in term %d, and knows terms up to %d", voted, term)
	}
	return term, nil
}

// sealAll seals what raft.db says of terms and votes, also where that is nothing yet.
func (c *counter) sealAll() error {
	for name, none := range map[string][]byte{string(votedKey): make([]byte, 8), string(votedForKey): {}, string(termKey): make([]byte, 8)} {
		key := []byte(name)
		value, err := valueAt(c.BoltStore, key)
		if errors.Is(err, errNoKey) {
			value, err = none, nil
		}
		if err == nil {
			err = c.count(c.BoltStore.Set(key, sealed(key, value)))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// known refuses a key that is none: one whose name is damaged would pass for a vote that was never given.
func known(key, _ []byte) error {
	for _, one := range [][]byte{ownerKey, recordKey, heardKey, termKey, votedKey, votedForKey} {
		if bytes.Equal(key, one) {
			return nil
		}
	}
	return fmt.Errorf("it has a key %.40q, which no program writes", key)
}

// SetUint64 waits, once the node runs, until the term can be written: the library would end the whole process. Meanwhile the node
// gives no vote and follows nobody, as where its disk hangs. When the node closes, the library's main loop ends here: it
// may go on neither without the term nor with an error.
func (c *counter) SetUint64(key []byte, value uint64) error {
	set := func() error {
		return c.count(c.BoltStore.Set(key, sealed(key, binary.BigEndian.AppendUint64(nil, value))))
	}
	err := set()
	closing := c.runs.Load()
	if err == nil || closing == nil || !bytes.Equal(key, termKey) {
		return err
	}
	now := time.Now()
	c.began.Store(&now)
	defer c.began.Store(nil)
	for err != nil {
		select {
		case <-time.After(untilAgain):
		case <-(*closing).Done():
			runtime.Goexit()
		}
		err = set()
	}
	c.wrote()
	return nil
}

// untilAgain is the pause before a term is written again that the disk did not take.
const untilAgain = 100 * time.Millisecond

func (c *counter) GetUint64(key []byte) (uint64, error) {
	n, err := numberAt(c.BoltStore, key)
	return n, c.unread(err)
}

func (c *counter) Set(key, value []byte) error {
	if bytes.Equal(key, votedForKey) {
		value = sealed(key, value)
	}
	return c.count(c.BoltStore.Set(key, value))
}

func (c *counter) Get(key []byte) ([]byte, error) {
	if !bytes.Equal(key, votedForKey) {
		return c.BoltStore.Get(key)
	}
	value, err := valueAt(c.BoltStore, key)
	return value, c.unread(err)
}

// unread says that raft.db was damaged since it was opened: then it was whole.
func (c *counter) unread(err error) error {
	if errors.Is(err, errDamaged) {
		return c.dir.cannot("read "+logFile, partial(c.dir.path, "%s is damaged: %v", logFile, err))
	}
	return err
}
