package coordinator

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

var update = flag.Bool("update", false, "write the golden traces anew")

// A recorder keeps what the contenders log, with the time since it began.
type recorder struct {
	mu    sync.Mutex
	begin time.Time
	text  bytes.Buffer
}

func (r *recorder) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(p)
}

func (r *recorder) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(r, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		switch a.Key {
		case slog.TimeKey:
			return slog.String("at", time.Since(r.begin).Round(time.Millisecond).String())
		case slog.LevelKey, "role":
			return slog.Attr{}
		}
		return a
	}}))
}

// trace is what was logged. Of what happens at one moment the contenders' order
// does not matter; each one's own does.
func (r *recorder) trace() string {
	r.mu.Lock()
	lines := slices.Collect(strings.Lines(r.text.String()))
	r.mu.Unlock()
	at := func(line string) time.Duration {
		var text string
		_, rest, _ := strings.Cut(line, "at=")
		text, _, _ = strings.Cut(rest, " ")
		d, _ := time.ParseDuration(text)
		return d
	}
	who := func(line string) string {
		_, rest, _ := strings.Cut(line, " id=")
		id, _, _ := strings.Cut(rest, " ")
		return id
	}
	slices.SortStableFunc(lines, func(a, b string) int {
		if at(a) != at(b) {
			return int(at(a) - at(b))
		}
		return strings.Compare(who(a), who(b))
	})
	return ranked(strings.Join(lines, ""))
}

var tokens = regexp.MustCompile(`token=[1-9]\d*`)

// ranked numbers the tokens: their value depends on how many beats came between.
func ranked(text string) string {
	seen := map[string]string{}
	return tokens.ReplaceAllStringFunc(text, func(token string) string {
		if seen[token] == "" {
			seen[token] = fmt.Sprintf("token=#%d", len(seen)+1)
		}
		return seen[token]
	})
}

// stories are what happens to a, who is active, and b, who stands by, after 24.1 s.
var stories = map[string]func(s *stage, l *link, stopA func() error){
	"clean-stop": func(_ *stage, _ *link, stopA func() error) { _ = stopA() },
	"cut-off": func(_ *stage, l *link, _ func() error) {
		l.cut.Store(true)
		time.Sleep(15*time.Second + 5*time.Millisecond) // between two looks at the link
		l.cut.Store(false)
	},
	"handoff": func(s *stage, _ *link, _ func() error) {
		l := s.store.Open()
		for st := range l.Watch(s.t.Context(), "r") {
			_ = l.Ask(s.t.Context(), "r", lock.Request{Token: st.Term.Token, To: st.Line[0].Session})
			return
		}
	},
}

// TestGolden compares what a person reads in the log with what was read before.
func TestGolden(t *testing.T) {
	for name, story := range stories {
		t.Run(name, func(t *testing.T) {
			var got string
			synctest.Test(t, func(t *testing.T) {
				s, l := newStage(t), &link{}
				l.Locker = s.store.Open()
				r := &recorder{begin: time.Now()}
				logged := func(id string) Config {
					c := config(id)
					c.Logger = r.logger()
					return c
				}
				work := func(ctx context.Context, _ Term) error {
					<-ctx.Done()
					time.Sleep(300 * time.Millisecond) // a work takes its time
					return errors.New("told to stop")
				}
				stopA := sync.OnceValue(s.contendOver(l, logged("a"), work))
				time.Sleep(100 * time.Millisecond)
				stopB := s.contend(logged("b"), work)
				time.Sleep(24 * time.Second)
				story(s, l, stopA)
				time.Sleep(15 * time.Second)
				got = r.trace()
				_ = stopB()
				_ = stopA()
			})
			path := filepath.Join("testdata", "golden", name+".txt")
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("-update writes it anew. Got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}
