// Package storebench times stores, in turn with their own clients doing the same: what the
// contract costs beside what the store does.
package storebench

import (
	"crypto/rand"
	"slices"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/lock"
)

var must = lab.Must

// Calls times each call of the contract, and in turn with it the raw client doing
// the same round trips with values as long: get, grant, keep, put, which compares one key,
// and swap, which compares four, writes one and deletes two, as what ends a session or
// hands a role over does. x-raw is the ratio of the medians.
func Calls(b *testing.B, l lock.Locker, raw func(trip string) error) {
	ctx := b.Context()
	contender := func(id string) lock.Contender {
		return lock.Contender{ID: id, Address: id + ":1", Session: lock.SessionID(rand.Text())}
	}
	join := func(id string) (s lock.Session) {
		s, err := l.Register(ctx, contender(id), lock.Promise{TTL: time.Hour, Skew: time.Minute}, lock.Bid{Role: "r"})
		must(b, err)
		return s
	}
	a, other, token, beat := lock.Session(nil), lock.Session(nil), lock.Token(0), lock.Beat(0)
	fresh := func() {
		var err error
		a, other = join("a"), join("b")
		token, err = a.TryAcquire(ctx, "r")
		must(b, err)
	}
	seen := func() {
		fresh()
		for st, err := range l.Watch(ctx, "r") {
			must(b, err)
			beat = st.Term.Holder.Beat
			break
		}
		time.Sleep(20 * time.Millisecond) // until the watch is gone from the store too
		must(b, other.Beat(ctx))          // and the connection is warm again
	}
	over := func() {
		must(b, a.Close(ctx))
		must(b, other.Close(ctx))
	}
	for _, call := range []struct {
		name   string
		before func()
		ours   func() error
		theirs []string
		after  func()
	}{
		{"Register", func() {}, func() (err error) {
			a, err = l.Register(ctx, contender("a"), lock.Promise{TTL: time.Hour, Skew: time.Minute}, lock.Bid{Role: "r"})
			return err
		}, []string{"get", "grant", "put"}, func() { must(b, a.Close(ctx)) }},
		{"Beat", fresh, func() error { return a.Beat(ctx) }, []string{"put"}, over},
		{"TryAcquire", fresh, func() error { _, err := a.TryAcquire(ctx, "q"); return err }, []string{"get", "put"}, over},
		{"Release", fresh, func() error { return a.Release(ctx, "r", token) }, []string{"get", "put"}, over},
		{"Handoff", fresh, func() error { return a.Handoff(ctx, "r", token, other.ID()) }, []string{"get", "swap"}, over},
		{
			"Evict", seen, func() error { return l.Evict(ctx, a.ID(), beat, lock.End{By: "b", Why: "silent"}) },
			[]string{"get", "keep", "swap"},
			over,
		},
		{"Close", fresh, func() error { return a.Close(ctx) }, []string{"get", "put", "get", "keep", "put"}, over},
	} {
		b.Run(call.name, func(b *testing.B) {
			ctx = b.Context()
			var ours, theirs []time.Duration
			for b.Loop() {
				call.before()
				ours = append(ours, Timed(func() { must(b, call.ours()) }))
				call.after()
				theirs = append(theirs, Timed(func() {
					for _, trip := range call.theirs {
						must(b, raw(trip))
					}
				}))
			}
			Ratio(b, ours, theirs, "raw")
		})
	}
}

// Timed is how long f takes.
func Timed(f func()) time.Duration {
	begin := time.Now()
	f()
	return time.Since(begin)
}

// Ratio reports the medians, and how they compare.
func Ratio(b *testing.B, ours, theirs []time.Duration, name string) {
	slices.Sort(ours)
	slices.Sort(theirs)
	mine, least := ours[len(ours)/2], theirs[len(theirs)/2]
	b.ReportMetric(float64(mine.Microseconds()), "µs")
	b.ReportMetric(float64(least.Microseconds()), "µs-"+name)
	b.ReportMetric(float64(mine)/float64(least), "x-"+name)
	b.ReportMetric(0, "ns/op")
}
