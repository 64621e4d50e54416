package fencingtest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/understudy-ha/understudy/backends"
	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/fencing"
	"github.com/understudy-ha/understudy/lock"
)

// childVariable makes the test binary a contender.
const childVariable = "FENCING_TEST_CONTENDER"

// A contender is a process that competes for role r, and whose work writes. It heeds
// neither its context nor its deadline, as a process cannot that is paused between its
// last check and its write.
type contender struct {
	Store backends.Config
	ID    string
	Guard string // how it writes: one of writers, or "set" for TestLoss
	URL   string // of the resource, where that is a server
	Heeds bool   // TestLoss: it looks at Term.Valid right before each write too
}

// contend is the contender's main. It ends when its standard input does.
func contend(text string) error {
	var c contender
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	orders := make(chan string)
	go func() {
		defer stop()
		defer close(orders)
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			orders <- in.Text()
		}
	}()
	locker, err := backends.Open(ctx, c.Store)
	if err != nil {
		return err
	}
	config := coordinator.Config{
		ID: c.ID, TTL: 2 * time.Second, Roles: []lock.Bid{{Role: "r"}}, NoExit: true,
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
	work := func(_ context.Context, term coordinator.Term) error { return c.obey(locker, term, orders) }
	if c.Guard == "set" {
		work = func(_ context.Context, term coordinator.Term) error { return c.add(ctx, term) }
	}
	return errors.Join(coordinator.Run(ctx, locker, config, work), locker.Close())
}

// obey writes once, and then what it is told to, and says what became of it.
func (c contender) obey(locker lock.Locker, term coordinator.Term, orders <-chan string) error {
	write, done, err := c.writer(locker, term.Role, term.Token)
	if err != nil {
		return err
	}
	defer done()
	fmt.Println("active", term.Token)
	for value, ok := "first of "+c.ID, true; ok; value, ok = <-orders {
		fmt.Println(outcome(write, value))
	}
	return nil
}

// outcome writes until it is known what became of it.
func outcome(write func(context.Context, string) error, value string) string {
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) { // until the child has its server
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		err := write(ctx, value)
		cancel()
		var stale *fencing.StaleError
		switch {
		case err == nil:
			return "accepted " + value
		case errors.As(err, &stale):
			return fmt.Sprintf("refused %s: %d for %d", value, stale.Token, stale.Current)
		case time.Now().After(end):
			return "failed: " + err.Error()
		}
	}
}
