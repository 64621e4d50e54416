// Package fencingsql makes a database refuse the transactions of a term that is over: a table
// holds the greatest token of each role, and is compared and raised in the transaction of the
// writes. It supports SQLite from 3.24 and PostgreSQL from 9.5.
//
// # Why it is safe
//
// [Table.Check] is one statement: insert the token, or update it if the current one is not
// greater. It changes the role's row even if the token is the same, so it takes the row's lock,
// which the transaction keeps until it ends. So the checked transactions of a role happen one
// after the other, in the order of their checks: one under a smaller token was committed before
// that of a greater one began its own work, or is refused. A SELECT of the token would take no
// lock, and another active could write between it and the commit. SELECT … FOR UPDATE would lock,
// but it has no row to lock before the first term, needs a second statement to raise the token,
// and does not exist in SQLite.
//
// At PostgreSQL's REPEATABLE READ and SERIALIZABLE the statement fails with a serialization
// failure (40001) if another transaction has raised the row since this one's snapshot; at READ
// COMMITTED it compares with what that one committed. SQLite has one writer at a time.
//
// # A transaction that is left open
//
// An active that is paused between Check and Commit holds the lock, and its successor waits for
// it. On PostgreSQL set idle_in_transaction_session_timeout to about the ttl: the server then
// ends such a transaction, and the successor goes on. On SQLite the lock belongs to the process,
// and only its end or its waking frees it.
package fencingsql

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"regexp"

	"github.com/understudy-ha/understudy/fencing"
	"github.com/understudy-ha/understudy/lock"
)

// A Table is the name of the table with the greatest tokens, with its schema if it
// needs one: letters, digits and underscores, such as "ops.fencing".
type Table string

// DefaultTable is the name to use if you have no other.
const DefaultTable Table = "fencing_tokens"

var name = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?$`)

func (t Table) check() error {
	if !name.MatchString(string(t)) {
		return lock.Permanent(fmt.Errorf("table %q: must be letters, digits and underscores, such as %s", string(t), DefaultTable))
	}
	return nil
}

// Create makes the table if it does not exist. Call it in the migration of the schema: if two
// processes create it at once, one of them may fail.
func (t Table) Create(ctx context.Context, db *sql.DB) error {
	if err := t.check(); err != nil {
		return err
	}
	_, err := db.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS `+string(t)+` (role VARCHAR(256) PRIMARY KEY, token BIGINT NOT NULL)`)
	if err != nil {
		return fmt.Errorf("create table %s: %w", t, err)
	}
	return nil
}

// Check lets the transaction go on if no greater token of the role was seen, and makes this one
// the greatest. It comes first in every transaction of the work, even in those that only read
// what is written later. It waits for another checked transaction of the role to end.
//
// It fails with a *fencing.StaleError, with lock.ErrPermanent for an invalid role, token or
// table, and with the database's error otherwise. After any error the transaction must be rolled
// back.
func (t Table) Check(ctx context.Context, tx *sql.Tx, role string, token lock.Token) error {
	if err := t.check(); err != nil {
		return err
	}
	if err := fencing.Check(role, token); err != nil {
		return err
	}
	if token > math.MaxInt64 {
		return lock.Permanent(fmt.Errorf("token %d: must be at most %d, to fit a BIGINT", token, int64(math.MaxInt64)))
	}
	r, err := tx.ExecContext(ctx, `INSERT INTO `+string(t)+` AS seen (role, token) VALUES ($1, $2)
		ON CONFLICT (role) DO UPDATE SET token = excluded.token WHERE seen.token <= excluded.token`, role, int64(token))
	if err != nil {
		return fmt.Errorf("check token %d of role %q: %w", token, role, err)
	}
	accepted, err := r.RowsAffected()
	if err != nil {
		return fmt.Errorf("check token %d of role %q: %w", token, role, err)
	}
	if accepted == 1 {
		return nil
	}
	var current int64
	if err := tx.QueryRowContext(ctx, `SELECT token FROM `+string(t)+` WHERE role = $1`, role).Scan(&current); err != nil {
		return fmt.Errorf("%w: role %q, token %d (which one is current: %w)", fencing.ErrStale, role, token, err)
	}
	return &fencing.StaleError{Role: role, Token: token, Current: lock.Token(current)}
}

// Tokens are the greatest tokens in the table, raised in transactions of their own: for a
// fencing.Gate that must find them again after its process has died.
func (t Table) Tokens(db *sql.DB) fencing.Tokens { return tokens{t, db} }

type tokens struct {
	table Table
	db    *sql.DB
}

func (t tokens) Raise(ctx context.Context, role string, token lock.Token) error {
	return t.table.Do(ctx, t.db, role, token, func(*sql.Tx) error { return nil })
}

// Do begins a transaction, checks it, runs f in it, and commits if f returns nil. After an error
// of the commit itself the outcome is unknown.
func (t Table) Do(ctx context.Context, db *sql.DB, role string, token lock.Token, f func(*sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	if err := t.Check(ctx, tx, role, token); err != nil {
		return err
	}
	if err := f(tx); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}
