package kv

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// Keys are the keys below a prefix, which ends in "/". What everybody must hear of is under
// state/, what changes with every beat under line/:
//
//	state/role/ROLE       its last term; durable
//	state/wish/ROLE       an operator's request about that term; durable
//	state/pause/ROLE      an operator's decision that nobody may take it; durable
//	state/contender/ID    what an operator has set for this contender; durable
//	history/ROLE          what happened in it; not followed; durable
//	state/floor           the floor set by Raise; durable
//	state/identity        of the store, drawn by the first write; durable
//	state/name/IDENTITY   one for each that the store answers to, for comparisons; durable
//	state/end/SESSION     on the lease that the session's record was on
//	state/fence/SESSION   the intent to have its host killed; on its lease
//	value/KEY             what lock.Values keeps; not followed with the rest; durable
//	line/session/SESSION  on the session's lease
//	line/claim/CONTENDER  the session that has this contender's ID; on its lease
type keys string

// keysUnder are the keys below a prefix as a user writes it.
func keysUnder(prefix string) keys {
	if prefix == "" {
		prefix = DefaultPrefix
	}
	return keys(strings.TrimSuffix(prefix, "/") + "/")
}

func (k keys) roles() string { return string(k) + "state/role/" }
func (k keys) state() string { return string(k) + "state/" }
func (k keys) line() string  { return string(k) + "line/" }
func (k keys) floor() string { return string(k) + "state/floor" }

func (k keys) identity() string { return string(k) + "state/identity" }
func (k keys) names() string    { return string(k) + "state/name/" }

func (k keys) name(identity string) string { return k.names() + escape(identity) }
func (k keys) sessions() string            { return string(k) + "line/session/" }

func (k keys) role(name string) string      { return k.roles() + escape(name) }
func (k keys) wish(role string) string      { return string(k) + "state/wish/" + escape(role) }
func (k keys) pause(role string) string     { return string(k) + "state/pause/" + escape(role) }
func (k keys) history(role string) string   { return string(k) + "history/" + escape(role) }
func (k keys) settings() string             { return string(k) + "state/contender/" }
func (k keys) setting(id string) string     { return k.settings() + escape(id) }
func (k keys) end(id lock.SessionID) string { return string(k) + "state/end/" + escape(string(id)) }
func (k keys) fence(id lock.SessionID) string {
	return string(k) + "state/fence/" + escape(string(id))
}

func (k keys) session(id lock.SessionID) string {
	return k.sessions() + escape(string(id))
}

func (k keys) claim(contender string) string { return string(k) + "line/claim/" + escape(contender) }

// inState reports whether everybody must hear of a key.
func (k keys) inState(key string) bool { return strings.HasPrefix(key, k.state()) }

// concerned is the one role that a key is about; "": it may be about any.
func (k keys) concerned(key string) string {
	switch kind, name := k.kind(key); kind {
	case "state/role", "state/wish", "state/pause":
		return name
	}
	return ""
}

// kind takes a key apart. Both parts are empty if it is not one of ours.
func (k keys) kind(key string) (kind, name string) {
	rest, ours := strings.CutPrefix(key, string(k))
	slash := strings.LastIndexByte(rest, '/')
	if !ours || slash < 0 {
		return "", ""
	}
	name, _ = url.PathUnescape(rest[slash+1:]) // "" with an error
	if name == "" || escape(name) != rest[slash+1:] {
		return "", ""
	}
	return rest[:slash], name
}

// escape makes a name into one path element.
func escape(name string) string {
	if name == "." || name == ".." {
		return strings.ReplaceAll(name, ".", "%2E")
	}
	return url.PathEscape(name)
}

// format is the version of the records below; docs/records.md describes every field. A change of
// what a record means raises it, and older programs leave such a record alone. A field that an
// older program may ignore is added without raising it.
const format = 2

// heeded is the format of the store's identity once a role was paused: a program that knows only
// the format above would ignore the pause.
const heeded = 3

// A header begins every record.
type header struct {
	Format int
	At     time.Time // when it was written, by the writer's clock; for people
	Nonce  string    // makes the value differ from every other
}

func newHeader() header {
	return header{Format: format, At: time.Now().UTC().Truncate(time.Millisecond), Nonce: rand.Text()}
}

// A roleRecord is a role's last term.
type roleRecord struct {
	header
	Holder   lock.Contender
	Promise  promise
	Priority int `json:",omitempty"`
	Since    time.Time
	Offset   uint64     `json:",omitempty"` // the term's token is the record's revision plus this
	Previous lock.Token `json:",omitempty"` // the term that a handoff ended for this one
	Over     string     `json:",omitempty"` // how the term ended, if its holder ended it
	End      lock.End   `json:",omitzero"`  // of the holder's session, if that ended it
	Token    lock.Token `json:",omitempty"` // of a term that is over

	revision uint64 // 0: there is no record
}

// token is the fencing token of the term; 0 if there was none.
func (r roleRecord) token() lock.Token {
	if !r.held() {
		return r.Token
	}
	return lock.Token(r.revision + r.Offset)
}

// holder is the session of the term, as it was when the term began.
func (r roleRecord) holder() lock.Member {
	return lock.Member{Contender: r.Holder, Promise: r.Promise.lock(), Priority: r.Priority}
}

// held reports whether the record does not say that the term has ended. The end of the holder's
// session may have been written nevertheless.
func (r roleRecord) held() bool { return r.revision != 0 && r.Over == "" && r.End == lock.End{} }

// A sessionRecord is a session as its owner's last beat left it.
type sessionRecord struct {
	header
	Contender lock.Contender
	Promise   promise
	Bids      []lock.Bid
	Holds     map[string]lock.Token `json:",omitempty"` // the terms that it knew it had, by role
	Created   uint64                `json:",omitempty"` // the revision of its registration; 0 in the first record, which cannot know it

	revision   uint64
	priorities map[string]int // of the bids, by role
}

// created is the revision of the registration, which also made the claim.
func (s sessionRecord) created() uint64 {
	if s.Created == 0 {
		return s.revision
	}
	return s.Created
}

func (s sessionRecord) member(role string) lock.Member {
	return lock.Member{Contender: s.Contender, Promise: s.Promise.lock(), Priority: s.priorities[role], Beat: lock.Beat(s.revision), BeatAt: s.At}
}

type claimRecord struct {
	header
	Session lock.SessionID
}

type endRecord struct {
	header
	lock.End
}

type wishRecord struct {
	header
	Request lock.Request
}

type floorRecord struct {
	header
	Floor  lock.Token // every future token is greater
	Offset uint64     // added to the store's revision to make it so

	revision uint64
}

type pauseRecord struct {
	header
	Pause lock.Pause
}

type fenceRecord struct {
	header
	Fence lock.Fence
}

type settingsRecord struct {
	header
	Settings lock.Settings
}

type historyRecord struct {
	header
	Events []lock.Event
}

// A promise is a lock.Promise that a person can read.
type promise struct{ TTL, Skew duration }

func promiseOf(p lock.Promise) promise { return promise{duration(p.TTL), duration(p.Skew)} }

func (p promise) lock() lock.Promise {
	return lock.Promise{TTL: time.Duration(p.TTL), Skew: time.Duration(p.Skew)}
}

type duration time.Duration

func (d duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

func (d *duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	*d = duration(parsed)
	return err
}

// encode writes a record. None of them holds anything that JSON cannot.
func encode(record any) []byte {
	value, err := json.Marshal(record)
	if err != nil {
		panic(err)
	}
	return value
}

// decode reads a record; the zero T if there is none. It fails with lock.ErrPermanent if the
// value is newer than this program, or not ours.
func decode[T any](r Record) (T, error) { return decodeUpTo[T](r, format) }

// decodeUpTo is decode of a record that may have a later format.
func decodeUpTo[T any](r Record, most int) (T, error) {
	var record T
	if r.Revision == 0 {
		return record, nil
	}
	var h header
	_ = json.Unmarshal(r.Value, &h) // if this fails there is no format, or it fails below
	switch {
	case h.Format < 1:
		return record, foreign(r.Key)
	case h.Format < format:
		return record, lock.Permanent(fmt.Errorf("key %q has format %d, from before the first release, which this program does not read: stop every contender, delete everything under the prefix, and start anew, or use another prefix", r.Key, h.Format))
	case h.Format > most:
		return record, lock.Permanent(fmt.Errorf("key %q has format %d, this program knows %d: use the newer program", r.Key, h.Format, most))
	}
	if json.Unmarshal(r.Value, &record) != nil {
		return *new(T), foreign(r.Key)
	}
	return record, nil
}

func foreign(key string) error {
	if strings.Contains(key, "state/pause/") { // nobody takes the role over meanwhile, and whoever works goes on
		return lock.Permanent(fmt.Errorf("the value of key %q is not one of understudy's, and counts as a pause: delete the key, which resumes the role", key))
	}
	return lock.Permanent(fmt.Errorf("the value of key %q is not one of understudy's: stop every contender and delete the key, or use another prefix", key))
}

func decodeRole(r Record) (roleRecord, error) {
	role, err := decode[roleRecord](r)
	if err == nil && r.Revision != 0 && (role.Holder.Session == "" || lock.Token(role.Offset) > lock.MaxFloor ||
		role.End != lock.End{} && role.Token == 0) {
		return roleRecord{}, foreign(r.Key)
	}
	role.revision = r.Revision
	return role, err
}

// decodeSession reads a session's record. If it is unreadable, nothing but its beat is known
// until its owner's next beat.
func decodeSession(id lock.SessionID, r Record) sessionRecord {
	s, _ := decode[sessionRecord](r)
	if s.Contender.Session != id {
		s = sessionRecord{Contender: lock.Contender{Session: id}}
	}
	s.revision, s.priorities = r.Revision, priorities(s.Bids)
	return s
}

// priorities are the priorities of the bids, by role.
func priorities(bids []lock.Bid) map[string]int {
	all := make(map[string]int, len(bids))
	for _, b := range bids {
		all[b.Role] = b.Priority
	}
	return all
}

func decodeClaim(r Record) (lock.SessionID, error) {
	c, err := decode[claimRecord](r)
	if err == nil && r.Revision != 0 && c.Session == "" {
		err = foreign(r.Key)
	}
	return c.Session, err
}

func decodeFloor(r Record) (floorRecord, error) {
	f, err := decode[floorRecord](r)
	if lock.CheckFloor(f.Floor) != nil || lock.CheckFloor(lock.Token(f.Offset)) != nil { // tokens would wrap around
		f, err = floorRecord{}, foreign(r.Key)
	}
	f.revision = r.Revision
	return f, err
}

// decodePause reads a pause; zero: none. One that cannot be read still counts as a pause.
func decodePause(r Record) lock.Pause {
	p, err := decode[pauseRecord](r)
	if err != nil {
		return lock.Pause{By: "unknown", Why: "its record is not readable"}
	}
	return p.Pause
}

// decodeEnd reads an end. Its presence counts, whatever it says.
func decodeEnd(r Record) lock.End {
	e, _ := decode[endRecord](r)
	if r.Revision != 0 && e.End == (lock.End{}) {
		return lock.End{By: "unknown", Why: "its end is not readable"}
	}
	return e.End
}
