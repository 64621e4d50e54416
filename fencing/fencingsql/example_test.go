package fencingsql_test

import (
	"context"
	"database/sql"

	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/fencing/fencingsql"
)

// The work checks its token in each of its transactions, before anything else.
func ExampleTable_Do() {
	var db *sql.DB // of the program that works; DefaultTable.Create was called on it once
	_ = func(ctx context.Context, term coordinator.Term) error {
		return fencingsql.DefaultTable.Do(ctx, db, term.Role, term.Token, func(tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, `UPDATE accounts SET balance = balance - 1`)
			return err
		}) // fencing.ErrStale: another is active
	}
}
