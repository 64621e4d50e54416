package witness

import (
	"context"
	"encoding/json"
	"log/slog"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// name is the process name of a witness. It is what ps shows, and how Main knows.
const name = "understudy-witness"

// An Open opens the store that was given to New, for a process that only looks and evicts. It
// must not become a contender.
type Open func(ctx context.Context, store json.RawMessage) (lock.Locker, error)

// An orders is everything that a witness gets when it starts.
type orders struct {
	Store       json.RawMessage
	ID          string // of the contender
	Roles       []string
	Promise     lock.Promise
	HangTimeout time.Duration // not positive: hangs are left alone
	Spare       bool          // kill nothing
	JSON        bool          // how to log
	Level       slog.Level
}

// MaxGroups is how many groups one witness answers for.
const MaxGroups = 256

// The limits of a witness.
const (
	starting = 10 * time.Second // for a witness to say that it stands by
	guarding = time.Second      // for it to acknowledge a group, or to look; then another is started
	asking   = 5 * time.Second  // between two times that it is made to look
	warm     = 20 * time.Second // between two reads that keep its connection
	seldom   = 15 * time.Second // between two things that are said of witnesses that end
	reading  = 2 * time.Second  // for a store that is not far to answer
	retry    = 5 * time.Millisecond
	hedge    = 250 * time.Millisecond // without an answer, until another try begins
	tries    = 4                      // open at once
)
