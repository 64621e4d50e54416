package object

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/understudy-ha/understudy/backends/ledger"
	"github.com/understudy-ha/understudy/lock"
)

// Format is that of the object. It is raised when an older program must not pass by what is new.
const Format = 1

var (
	// ErrForeign means that what stands in the object's place was not written by this package.
	// It is left alone.
	ErrForeign = errors.New("a foreign object")

	// ErrNewer means that a newer program has written the object. It is left alone.
	ErrNewer = errors.New("an object of a newer format")

	// ErrTooLarge means that a call would make the object larger than the store takes. Nothing
	// was sent.
	ErrTooLarge = errors.New("the object would be too large")
)

// A record is what stands in the object, as JSON.
type record struct {
	Store  string // always ours
	Format int
	Era    string  `json:",omitempty"` // in which it was written, see Value
	Writes []write // the latest, oldest first
	Ledger *ledger.Ledger
}

// A write says who wrote the object: by its ID a writer whose reply was lost finds out that it did.
type write struct {
	ID       string
	Revision uint64 // of the ledger then
}

const (
	ours   = "understudy"
	writes = 32 // that the object names

	// What is kept of ends and of events, in bytes, as all of it is written with every beat.
	endBytes   = 8 << 10
	eventBytes = 32 << 10
)

// decode reads an object. The error is lock.ErrPermanent.
func decode(data []byte) (record, error) {
	var head struct {
		Store  string
		Format int
	}
	_ = json.Unmarshal(data, &head) // if this fails there is no store, or no format
	if head.Store != ours || head.Format < 1 {
		return record{}, lock.Permanent(fmt.Errorf("%w: %.60q; name another one, or remove it", ErrForeign, data))
	}
	if head.Format > Format {
		return record{}, lock.Permanent(fmt.Errorf("%w: it has %d, this program knows %d; run a newer one", ErrNewer, head.Format, Format))
	}
	r := record{Ledger: ledger.New()}
	if err := json.Unmarshal(data, &r); err != nil || r.Ledger == nil {
		return record{}, lock.Permanent(fmt.Errorf("%w: its ledger cannot be read: %w", ErrForeign, err))
	}
	return r, nil
}

// next is the record after calls, with their results. A call that is refused for its size has
// no effect.
func (r record) next(id string, calls []*call) (record, []ledger.Result) {
	results := make([]ledger.Result, len(calls))
	for i, c := range calls {
		results[i] = r.Ledger.Apply(r.Ledger.Revision+1, c.command)
		results[i].Revision = r.Ledger.Revision
	}
	r.Ledger.Sweep(endBytes, eventBytes)
	r.Store, r.Format = ours, Format
	r.Writes = append(slices.Clone(r.Writes), write{id, r.Ledger.Revision})
	r.Writes = r.Writes[max(0, len(r.Writes)-writes):]
	return r, results
}

// wrote reports whether the write of this ID is among those that the record names. known: since
// the ledger's revision it names all.
func (r record) wrote(id string, since uint64) (did, known bool) {
	if slices.ContainsFunc(r.Writes, func(w write) bool { return w.ID == id }) {
		return true, true
	}
	return false, len(r.Writes) < writes || r.Writes[0].Revision <= since
}

// growing are the operations that leave more in the object than they found. An eighth of what the
// store takes is kept for the others: whoever is there can go on, and end.
var growing = []ledger.Op{
	ledger.Register, ledger.Ask, ledger.Write, ledger.Adopt, ledger.Pause, ledger.Configure, ledger.Record,
}

// fits says what is wrong with the size of an object after calls.
func fits(size, limit int, calls []*call) error {
	if slices.ContainsFunc(calls, func(c *call) bool { return slices.Contains(growing, c.command.Op) }) {
		limit -= limit / 8
	}
	if size <= limit {
		return nil
	}
	return lock.Permanent(fmt.Errorf("%w: %d bytes, at most %d; have fewer contenders or roles in one object", ErrTooLarge, size, limit))
}
