package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/backends/raft"
	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/internal/cli"
	"github.com/understudy-ha/understudy/internal/lab/process"
	"github.com/understudy-ha/understudy/internal/lab/servers"
	"github.com/understudy-ha/understudy/lock"
)

const (
	demoRole = "demo"
	demoTTL  = time.Second
	demoHang = 300 * time.Millisecond
)

func newDemo() *cobra.Command {
	warm := false
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Three real processes lose and regain an active, on embedded Raft, in under a minute",
		Long: `Starts three processes on loopback, each a voter of one Raft group, with a ttl of 1s and
a witness beside it. Kills the active with SIGKILL, freezes the next with SIGSTOP, freezes
one together with its witness and wakes both again, hands over, stops one cleanly, then
stops everything and leaves nothing behind. The times are those that the works stamped themselves.

With --warm: kills the active of a program that takes 3s to start, first cold and then as understudy run --warm
keeps it, and measures from SIGKILL to the first answer of the next.
` + cli.Codes{0: "all of it was shown", cli.NotDone: "something failed, or it was stopped"}.String(),
		Example: "  understudy demo\n  understudy demo --warm",
		Args:    cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			read, forget := signal.NotifyContext(cmd.Context(), syscall.SIGPIPE) // until its reader goes away
			defer forget()
			ctx, stop := signal.NotifyContext(read, os.Interrupt, syscall.SIGTERM)
			defer stop()
			show := (*demoStage).takeovers
			if warm {
				wrapper, err := findWrapper()
				if err != nil {
					return err
				}
				show = func(s *demoStage, ctx context.Context) error { return s.coldAndWarm(ctx, wrapper) }
			}
			if err := demo(ctx, cmd.OutOrStdout(), show); read.Err() != nil && cmd.Context().Err() == nil {
				return cli.Exit(cli.NotDone, nil) // who has read enough needs no word about it
			} else if err != nil {
				return cli.Exit(cli.NotDone, err)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&warm, "warm", false, "show a program that takes 3s to start, cold and warm (Linux)")
	cli.Once(cmd.Flags())
	return cmd
}

func demo(ctx context.Context, out io.Writer, show func(*demoStage, context.Context) error) (err error) {
	dir, err := os.MkdirTemp("", "understudy-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	s, err := newStage(dir, out)
	if err != nil {
		return err
	}
	ctx, s.fail = context.WithCancelCause(ctx)
	if s.client, err = dialStage(s); err != nil {
		return err
	}
	defer s.client.Close()
	defer s.endAll()
	return show(s, ctx)
}

func (s *demoStage) takeovers(ctx context.Context) error {
	s.beside = true
	if err := s.startAll(); err != nil {
		return err
	}
	s.print("", "three processes start: a, b, c; embedded Raft on loopback, ttl %v, a witness beside each", demoTTL)
	for _, act := range []func(context.Context) error{s.first, s.crash, s.hang, s.freeze, s.handoff, s.cleanStop, s.stopAll} {
		if err := act(ctx); err != nil {
			return err
		}
		select { // so that a person can follow, and the active has something to do
		case <-time.After(time.Second):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return s.verdict()
}

// first waits for the first active, and for all three to be in line.
func (s *demoStage) first(ctx context.Context) error {
	t, err := s.next(ctx, 0)
	if err != nil {
		return err
	}
	s.print("good", "%s is ACTIVE, token %d", t.id, t.token)
	if err := s.inLine(ctx, 2); err != nil {
		return err
	}
	s.commit, err = s.measureCommit(ctx)
	s.print("", "one commit in this group takes %v at the median", short(s.commit))
	return err
}

func (s *demoStage) crash(ctx context.Context) error {
	old := s.active()
	at := s.signal(old.id, syscall.SIGKILL)
	s.print("bad", "%s killed with SIGKILL", old.id)
	t, err := s.next(ctx, old.token)
	if err != nil {
		return err
	}
	s.took(t, "crash", t.first-at, "its witness heard of it from the kernel, and ended its session")
	return s.again(ctx, old.id)
}

func (s *demoStage) hang(ctx context.Context) error {
	old := s.active()
	at := s.signal(old.id, syscall.SIGSTOP)
	s.print("bad", "%s frozen with SIGSTOP", old.id)
	t, err := s.next(ctx, old.token)
	if err != nil {
		return err
	}
	s.took(t, "hang", t.first-at, fmt.Sprintf("its witness killed it after %v without a turn", demoHang))
	return s.again(ctx, old.id)
}

// again starts a process that was killed or that ended, and waits until it is in
// line.
func (s *demoStage) again(ctx context.Context, id string) error {
	if err := s.wait(id); err != nil {
		return err
	}
	if err := s.start(id); err != nil {
		return err
	}
	s.print("", "%s started again", id)
	return s.inLine(ctx, 2)
}

func (s *demoStage) freeze(ctx context.Context) error {
	old := s.active()
	_ = syscall.Kill(old.witness, syscall.SIGSTOP) // first, or it would see the other hang
	defer func() { _ = syscall.Kill(old.witness, syscall.SIGCONT) }()
	at := s.signal(old.id, syscall.SIGSTOP)
	s.print("bad", "%s frozen with SIGSTOP, and its witness too, as with a machine that stands still", old.id)
	t, err := s.next(ctx, old.token)
	if err != nil {
		return err
	}
	s.took(t, "freeze of both", t.first-at, "ttl + skew since its last beat")
	woken := coordinator.Clocks().Mono
	s.signal(old.id, syscall.SIGCONT)
	if err := s.wait(old.id); err != nil {
		return err
	}
	if late := s.lastOf(old) - woken; late > 0 {
		return fmt.Errorf("%s stamped %v after it was woken", old.id, late)
	}
	s.print("", "%s woken with SIGCONT: Valid() said no, it stamped nothing, and the process exited, as its deadline had passed", old.id)
	return s.again(ctx, old.id)
}

func (s *demoStage) handoff(ctx context.Context) error {
	st, err := s.standing(ctx)
	if err != nil {
		return err
	}
	old, to := s.active(), st.Line[0]
	s.print("", "%s asked to hand over to %s", old.id, to.ID)
	if err := s.client.Ask(ctx, demoRole, lock.Request{Token: st.Term.Token, To: to.Session, By: "demo"}); err != nil {
		return err
	}
	if err := s.followed(ctx, old, "handoff"); err != nil {
		return err
	}
	return s.inLine(ctx, 2)
}

// followed waits for the next active, and tells how long after the old one's end it began.
func (s *demoStage) followed(ctx context.Context, old *demoTerm, what string) error {
	t, err := s.next(ctx, old.token)
	if err != nil {
		return err
	}
	end, err := s.endOf(ctx, old)
	if err != nil {
		return err
	}
	s.took(t, what, t.first-end, s.inCommits(t.first-end))
	return nil
}

func (s *demoStage) cleanStop(ctx context.Context) error {
	old := s.active()
	s.signal(old.id, syscall.SIGTERM)
	s.print("", "%s stopped with SIGTERM", old.id)
	if err := s.followed(ctx, old, "clean stop"); err != nil {
		return err
	}
	return s.wait(old.id)
}

func (s *demoStage) stopAll(context.Context) error {
	if err := s.endEach(); err != nil {
		return err
	}
	s.print("", "everything stopped, nothing is left behind")
	return nil
}

// endEach stops all as they should be stopped.
func (s *demoStage) endEach() error {
	for _, id := range s.ids {
		if s.running(id) {
			s.signal(id, syscall.SIGTERM)
		}
	}
	for _, id := range s.ids {
		if err := s.wait(id); err != nil {
			return err
		}
	}
	return nil
}

// verdict judges the stamps: no two works ever acted at once.
func (s *demoStage) verdict() error {
	terms := s.terms()
	var overlap time.Duration
	for i, t := range terms[1:] {
		if before := terms[i]; before.last >= t.first {
			overlap += before.last - t.first
		}
		if t.token <= terms[i].token {
			return fmt.Errorf("token %d came after %d", t.token, terms[i].token)
		}
	}
	stamps := 0
	for _, t := range terms {
		stamps += t.stamps
	}
	s.table()
	if overlap > 0 {
		return fmt.Errorf("two were active at once for %v", overlap)
	}
	text := fmt.Sprintf("%d terms, %d stamps by their own works: no two were ever active at once.", len(terms), stamps)
	fmt.Fprintf(s.out, "\n%s\n", narrow(text, 0))
	return nil
}

func (s *demoStage) table() {
	fmt.Fprintf(s.out, "\n%-15s %10s\n", "takeover", "took")
	for _, r := range s.results {
		fmt.Fprintf(s.out, "%-15s %10v   %s\n", r.what, short(r.took), narrow(r.why, 29))
	}
}

func (s *demoStage) took(t *demoTerm, what string, d time.Duration, why string) {
	s.results = append(s.results, demoResult{what, d, why})
	s.print("good", "%s is ACTIVE, token %d: %v after the %s; %s", t.id, t.token, short(d), what, why)
}

func (s *demoStage) inCommits(d time.Duration) string {
	return fmt.Sprintf("%.1f times one commit, from the old work's end to the new work's start", float64(d)/float64(s.commit))
}

// measureCommit is the median time of one write through a peer.
func (s *demoStage) measureCommit(ctx context.Context) (time.Duration, error) {
	var all []time.Duration
	for range 21 {
		began := time.Now()
		if err := s.client.Raise(ctx, 0); err != nil {
			return 0, err
		}
		all = append(all, time.Since(began))
	}
	slices.Sort(all)
	return all[len(all)/2], nil
}

func short(d time.Duration) time.Duration {
	if d < 10*time.Millisecond {
		return d.Round(10 * time.Microsecond)
	}
	return d.Round(time.Millisecond)
}

// newStage finds four free ports.
func newStage(dir string, out io.Writer) (*demoStage, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s := &demoStage{dir: dir, out: out, self: self, ttl: demoTTL, every: time.Millisecond, began: time.Now(), procs: map[string]*process.Process{}, told: map[*process.Process]bool{}, news: make(chan struct{}, 1)}
	s.colour = cli.Terminal(out) && os.Getenv("NO_COLOR") == ""
	s.command = s.contender
	addresses, err := servers.Addresses(4)
	if err != nil {
		return nil, err
	}
	s.service = addresses[3]
	for i, address := range addresses[:3] {
		s.ids = append(s.ids, string(rune('a'+i)))
		s.peers = append(s.peers, raft.Peer{ID: s.ids[i], Address: address})
	}
	return s, nil
}

func dialStage(s *demoStage) (lock.Locker, error) { return raft.Dial(raft.Config{Peers: s.peers}) }

// contender is the command line of a process that stamps.
func (s *demoStage) contender(id string) *exec.Cmd {
	return exec.Command(s.self,
		"demo-contender", "--id", id, "--ttl", s.ttl.String(), "--every", s.every.String(),
		"--raft-dir", filepath.Join(s.dir, id), "--raft-peers", s.peerList(), fmt.Sprintf("--witness=%t", s.beside),
	)
}

func (s *demoStage) peerList() string {
	var peers []string
	for _, p := range s.peers {
		peers = append(peers, p.ID+"="+p.Address)
	}
	return strings.Join(peers, ",")
}
