package coordinator

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/internal/lab/script"
	"github.com/understudy-ha/understudy/lock"
)

var update = flag.Bool("update", false, "write the golden traces anew")

// A recorder keeps what the contenders log, with the time since it began.
type recorder struct {
	lab.Said
	begin time.Time
}

func (r *recorder) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(r, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		switch a.Key {
		case slog.TimeKey:
			return slog.String("at", time.Since(r.begin).Round(time.Millisecond).String())
		case "role":
			return slog.Attr{}
		case slog.LevelKey:
			if a.Value.Any() == slog.LevelInfo {
				return slog.Attr{}
			}
		}
		return a
	}}))
}

// trace is what was logged. Of what happens at one moment the contenders' order
// does not matter; each one's own does.
func (r *recorder) trace() string {
	lines := slices.Collect(strings.Lines(r.String()))
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

// A story is two contenders, a and b, to whom what a script says happens.
type story struct {
	*stage
	recorder recorder
	links    map[string]*link
	stops    map[string]func() error
}

// do does one step of a script.
func (s *story) do(step string) {
	what, arg, _ := strings.Cut(step, " ")
	switch what {
	case "start":
		s.links[arg] = &link{Locker: s.store.Open()}
		c := config(arg)
		c.Logger = s.recorder.logger()
		s.stops[arg] = sync.OnceValue(s.contendOver(s.links[arg], c, func(ctx context.Context, _ Term) error {
			<-ctx.Done()
			time.Sleep(300 * time.Millisecond) // the work takes its time
			return errors.New("told to stop")
		}))
	case "wait":
		d, err := time.ParseDuration(arg)
		if err != nil {
			s.t.Fatal(err)
		}
		time.Sleep(d) // virtual time
	case "stop":
		_ = s.stops[arg]()
	case "cut", "heal":
		s.links[arg].cut.Store(what == "cut")
	case "handoff":
		l := s.store.Open()
		for st := range l.Watch(s.t.Context(), "r") {
			_ = l.Ask(s.t.Context(), "r", lock.Request{Token: st.Term.Token, To: st.Line[0].Session})
			return
		}
	default:
		s.t.Fatalf("no such step: %q", step)
	}
}

// TestGolden compares what people read in the log with what is written down in
// testdata/golden.
func TestGolden(t *testing.T) {
	paths, err := filepath.Glob("testdata/golden/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			told, err := script.Read(path)
			if err != nil || len(told.Trace) != 1 {
				t.Fatalf("want one block of steps: %v", err)
			}
			got := told.Trace[0]
			synctest.Test(t, func(t *testing.T) {
				s := &story{stage: newStage(t), links: map[string]*link{}, stops: map[string]func() error{}}
				s.recorder.begin = time.Now()
				for _, step := range got.Steps() {
					s.do(step)
				}
				got.Want = s.recorder.trace()
				for _, stop := range s.stops {
					_ = stop()
				}
			})
			if *update {
				if err := told.Write([]script.Block{got}); err != nil {
					t.Fatal(err)
				}
			} else if want := told.Trace[0].Want; got.Want != want {
				t.Errorf("-update writes it anew. Got:\n%s\nwant:\n%s", got.Want, want)
			}
		})
	}
}
