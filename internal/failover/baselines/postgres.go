package main

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// askEvery is how often the holder asks whether its connection is there, and how long it
// waits for the answer.
const askEvery = time.Second

// postgresLock is an advisory lock of a session: of one connection, which is kept while the
// work lasts.
func postgresLock(ctx context.Context, c contender) error {
	conn, err := pgx.Connect(ctx, "postgres://postgres@"+c.addresses[0]+"/postgres?sslmode=disable")
	if err != nil {
		return err
	}
	defer conn.Close(context.Background())
	say("standby", 0)
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock(hashtext($1))", c.key); err != nil {
		return err
	}
	token := uint64(now()) // the lock has none, and the bench must know who came later
	say("granted", token)
	lost := make(chan struct{})
	go func() {
		defer close(lost)
		for answers(ctx, conn) {
		}
	}()
	if err := workUntil(ctx, lost, token); err != nil {
		return err
	}
	<-lost // nothing else is asked on this connection
	give, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_, err = conn.Exec(give, "SELECT pg_advisory_unlock(hashtext($1))", c.key)
	return err
}

// answers asks after a while. It reports false when there is no answer, or ctx is done.
func answers(ctx context.Context, conn *pgx.Conn) bool {
	select {
	case <-time.After(askEvery):
	case <-ctx.Done():
		return false
	}
	ask, cancel := context.WithTimeout(context.Background(), askEvery)
	defer cancel()
	return conn.Ping(ask) == nil
}
