package databases

import (
	"database/sql"
	"errors"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/fencing"
	"github.com/understudy-ha/understudy/fencing/fencingsql"
	"github.com/understudy-ha/understudy/lock"
)

// TestCheck: a smaller token is refused, and nothing of its transaction is written.
func TestCheck(t *testing.T) {
	onEach(t, func(t *testing.T, _ database, db *sql.DB) {
		ctx := within(t, time.Minute)
		do := func(token lock.Token, v string) error { return table.Do(ctx, db, "r", token, put(ctx, v)) }
		must(t, do(7, "seven"))
		must(t, do(7, "seven again"))
		must(t, do(9, "nine"))
		wantStale(t, do(8, "stale"), 8, 9)
		tx, err := db.BeginTx(ctx, nil) // one that writes first, and checks then
		must(t, err)
		must(t, put(ctx, "stale")(tx))
		wantStale(t, table.Check(ctx, tx, "r", 7), 7, 9)
		must(t, tx.Rollback())
		wantValue(t, db, "nine")
		must(t, table.Do(ctx, db, "other role", 1, put(ctx, "one"))) // roles do not meet
		tokens := table.Tokens(db)
		must(t, tokens.Raise(ctx, "r", 10))
		wantStale(t, do(9, "stale"), 9, 10)
		wantStale(t, tokens.Raise(ctx, "r", 9), 9, 10)
		failed := errors.New("failed")
		if err := table.Do(ctx, db, "r", 11, func(tx *sql.Tx) error { return errors.Join(put(ctx, "half")(tx), failed) }); !errors.Is(err, failed) {
			t.Fatal(err)
		}
		must(t, do(10, "ten")) // what was rolled back raised nothing
		must(t, do(math.MaxInt64, "the last"))
	})
}

func TestCheckRefusesWhatIsNone(t *testing.T) {
	onEach(t, func(t *testing.T, _ database, db *sql.DB) {
		ctx := within(t, time.Minute)
		nothing := func(*sql.Tx) error { return nil }
		for _, err := range []error{
			table.Do(ctx, db, "", 1, nothing),
			table.Do(ctx, db, "r", 0, nothing),
			table.Do(ctx, db, "r", math.MaxInt64+1, nothing),
			fencingsql.Table("a; DROP TABLE data").Do(ctx, db, "r", 1, nothing),
			fencingsql.Table("").Create(ctx, db),
		} {
			if !errors.Is(err, lock.ErrPermanent) {
				t.Errorf("%v, want ErrPermanent", err)
			}
		}
		if err := fencingsql.Table("nowhere").Do(ctx, db, "r", 1, nothing); err == nil || errors.Is(err, lock.ErrPermanent) {
			t.Errorf("no such table: %v", err)
		}
	})
}

// TestGreaterTokenWaits for the transaction that was checked under a smaller one, and sees
// what that wrote.
func TestGreaterTokenWaits(t *testing.T) {
	onEach(t, func(t *testing.T, d database, db *sql.DB) {
		ctx := within(t, time.Minute)
		must(t, table.Do(ctx, db, "r", 4, put(ctx, "four")))
		old, err := db.BeginTx(ctx, nil)
		must(t, err)
		must(t, table.Check(ctx, old, "r", 5))
		must(t, put(ctx, "five")(old))
		order := make(chan string, 2)
		done := make(chan error, 1)
		go func() {
			var seen string
			read := func(tx *sql.Tx) error {
				order <- "new checked"
				return tx.QueryRowContext(ctx, `SELECT value FROM data WHERE name = 'k'`).Scan(&seen)
			}
			err := table.Do(ctx, db, "r", 6, read)
			if repeatable(err) {
				err = table.Do(ctx, db, "r", 6, read)
			}
			if err == nil && seen != "five" {
				err = errors.New("the new one reads " + seen)
			}
			done <- err
		}()
		time.Sleep(200 * time.Millisecond) // it could go ahead now, if it did not wait
		order <- "old commits"
		must(t, old.Commit())
		must(t, <-done)
		if first := <-order; first != "old commits" {
			t.Fatal(first, "first")
		}
		wantStale(t, table.Do(ctx, db, "r", 5, put(ctx, "stale")), 5, 6)
	})
}

// TestManyAtOnce: transactions under rising tokens, many at a time, each of which reads,
// and writes what it read and one more. None is lost, and what was committed stands in
// the order of the tokens.
func TestManyAtOnce(t *testing.T) {
	onEach(t, func(t *testing.T, d database, db *sql.DB) {
		ctx := within(t, 2*time.Minute)
		run(t, db, `CREATE TABLE log (n INTEGER PRIMARY KEY, token BIGINT)`)
		add := func(token lock.Token) error {
			return table.Do(ctx, db, "r", token, func(tx *sql.Tx) error {
				var n int
				if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM log`).Scan(&n); err != nil {
					return err
				}
				_, err := tx.ExecContext(ctx, `INSERT INTO log VALUES ($1, $2)`, n, int64(token))
				return err
			})
		}
		var all sync.WaitGroup
		var mu sync.Mutex
		committed := 0
		for worker := range 8 {
			all.Go(func() {
				for i := range 25 {
					err := add(lock.Token(1 + i/5*8 + worker)) // the workers overtake each other
					mu.Lock()
					if err == nil {
						committed++
					} else if !errors.Is(err, fencing.ErrStale) && !repeatable(err) {
						t.Error(err)
					}
					mu.Unlock()
				}
			})
		}
		all.Wait()
		rows, err := db.QueryContext(ctx, `SELECT token FROM log ORDER BY n`)
		must(t, err)
		defer rows.Close()
		count, last := 0, lock.Token(0)
		for ; rows.Next(); count++ {
			var token lock.Token
			must(t, rows.Scan(&token))
			if token < last {
				t.Errorf("token %d was written after %d", token, last)
			}
			last = token
		}
		must(t, rows.Err())
		if count != committed || committed < 5 {
			t.Errorf("%d rows, %d transactions were acknowledged", count, committed)
		}
		t.Logf("%d of 200 transactions were committed", committed)
	})
}
