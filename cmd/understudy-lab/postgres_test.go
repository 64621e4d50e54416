//go:build postgres

package main

import (
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/understudy-ha/understudy/internal/lab"
)

// TestPostgres runs some cases on a server of PostgreSQL, and leaves nothing there.
func TestPostgres(t *testing.T) {
	server, flags := serve(t, "postgres")
	conformsInOneValue(t, flags)
	if left := rows(t, server.Members[0].Addr()); left != "0" {
		t.Errorf("%s rows are left", left)
	}
	measuresOne(t, "postgres")
}

// rows counts what is in the table.
func rows(t *testing.T, address string) string {
	c, err := pgconn.Connect(t.Context(), "postgres://postgres@"+address+"/postgres?sslmode=disable")
	lab.Must(t, err)
	defer c.Close(t.Context())
	rs, err := c.Exec(t.Context(), "select count(*) from understudy").ReadAll()
	lab.Must(t, err)
	return string(rs[0].Rows[0][0])
}
