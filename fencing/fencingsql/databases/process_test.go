package databases

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/fencing"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/lock"
)

// childVariable makes the test binary a writer.
const childVariable = "FENCING_TEST_WRITER"

// A writer is a process that believes that it is active, and does what it is told.
type writer struct {
	database
	Token lock.Token
}

// write is the writer's main: "put V" writes in a transaction, "hold V" too, but commits
// only at the next line.
func write(text string) error {
	var w writer
	if err := json.Unmarshal([]byte(text), &w); err != nil {
		return err
	}
	db, err := sql.Open(w.Driver, w.DSN)
	if err != nil {
		return err
	}
	defer db.Close()
	ctx := context.Background()
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		what, v, _ := strings.Cut(in.Text(), " ")
		err := table.Do(ctx, db, "r", w.Token, func(tx *sql.Tx) error {
			if err := put(ctx, v)(tx); err != nil || what == "put" {
				return err
			}
			fmt.Println("holding", v)
			in.Scan()
			return nil
		})
		switch {
		case errors.Is(err, fencing.ErrStale):
			fmt.Println("refused", v)
		case err != nil:
			fmt.Println("failed", v)
		default:
			fmt.Println("committed", v)
		}
	}
	return nil
}

func (w writer) start(t testing.TB) *lab.Child {
	t.Helper()
	return lab.Talk(t, lab.Self(t, childVariable, w))
}

// TestPaused stops a writer with SIGSTOP. Another one, with the next token, writes. The
// first one wakes, and its very next act is a write: the database refuses it.
func TestPaused(t *testing.T) {
	onEach(t, func(t *testing.T, d database, db *sql.DB) {
		first, second := writer{d, 5}.start(t), writer{d, 6}.start(t)
		first.Say("put first")
		first.Want("committed first")
		must(t, first.Pause())
		first.Say("put stale")
		second.Say("put second")
		second.Want("committed second")
		must(t, first.Resume())
		first.Want("refused stale")
		wantValue(t, db, "second")
	})
}
