package main

import (
	"context"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
	"github.com/riverqueue/river/rivertype"
)

// riverLeader is the election by which clients of River, a queue of jobs, choose who does what one of them must. A client
// leads from when it starts its periodic jobs, up to a second after its election, until it stops them.
func riverLeader(ctx context.Context, c contender) error {
	pool, err := pgxpool.New(ctx, "postgres://postgres@"+c.addresses[0]+"/postgres?sslmode=disable")
	if err != nil {
		return err
	}
	defer pool.Close()
	schema := strings.ReplaceAll(oneName(c.key), "-", "_")
	if err := migrate(ctx, pool, schema); err != nil {
		return err
	}
	leads := &riverLeads{terms: make(chan context.Context, 1)}
	workers := river.NewWorkers()
	river.AddWorker(workers, river.WorkFunc(func(context.Context, *river.Job[noJob]) error { return nil }))
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{
		ID: c.id, Schema: schema, Hooks: []rivertype.Hook{leads}, Workers: workers,
		Queues: map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 1}},
	})
	if err != nil {
		return err
	}
	if err := client.Start(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	say("standby", 0)
	err = leads.work(ctx)
	give, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if stop := client.Stop(give); err == nil {
		err = stop
	}
	return err
}

// migrate makes River's tables, one contender after the other. Each version is a transaction of its own.
func migrate(ctx context.Context, pool *pgxpool.Pool, schema string) error {
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock(hashtext($1))", schema); err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, "CREATE SCHEMA IF NOT EXISTS "+pgx.Identifier{schema}.Sanitize()); err != nil {
		return err
	}
	migrator, err := rivermigrate.New(riverpgxv5.New(pool), &rivermigrate.Config{Schema: schema})
	if err != nil {
		return err
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return err
	}
	_, err = conn.Exec(ctx, "SELECT pg_advisory_unlock(hashtext($1))", schema)
	return err
}

// noJob is the job that a client must know one of.
type noJob struct{}

func (noJob) Kind() string { return "none" }

// riverLeads is told when the client leads.
type riverLeads struct {
	river.HookDefaults
	terms chan context.Context
}

// Start is given a context that lasts as long as the client leads.
func (l *riverLeads) Start(ctx context.Context, _ *rivertype.HookPeriodicJobsStartParams) error {
	l.terms <- ctx
	return nil
}

// work works until ctx is done, which is nil, or the client no longer leads.
func (l *riverLeads) work(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case leads := <-l.terms:
		token := uint64(now()) // the election has none that it shows, and the bench must know who came later
		say("granted", token)
		return workUntil(ctx, leads.Done(), token)
	}
}
