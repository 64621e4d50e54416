package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	systemd "github.com/coreos/go-systemd/v22/daemon"

	"github.com/understudy-ha/understudy/coordinator"
)

// A manager is the service manager that started this process, if it wants to know this process's
// state: systemd, by the protocol of sd_notify(3). One goroutine tells it, and may hang in that
// forever: nothing waits for it.
type manager struct {
	monitor  *coordinator.Monitor
	changed  chan struct{} // has room for one
	watchdog time.Duration // 0: it has none
	ready    bool          // READY was sent
	status   string        // the last one sent
}

// tellManager tells the service manager the state of this process, until ctx is done. It watches
// what config is used for.
func tellManager(ctx context.Context, config *coordinator.Config) {
	if os.Getenv("NOTIFY_SOCKET") == "" {
		return
	}
	if config.Monitor == nil {
		config.Monitor = new(coordinator.Monitor)
	}
	m := &manager{monitor: config.Monitor, changed: make(chan struct{}, 1)}
	var err error
	if m.watchdog, err = systemd.SdWatchdogEnabled(false); err != nil {
		config.Logger.Warn("not serving the service manager's watchdog", "error", err)
	}
	config.OnTransition = func(coordinator.Transition) {
		select {
		case m.changed <- struct{}{}:
		default: // it is still looking
		}
	}
	go func() {
		if err := m.tell(ctx); err != nil {
			config.Logger.Warn("cannot tell the service manager the state of this process", "error", err)
		}
	}()
}

// patience is the least time that a service manager waits between two messages of a process that
// is starting.
const patience = time.Minute

func (m *manager) tell(ctx context.Context) error {
	every := patience / 4
	if m.watchdog > 0 {
		every = min(every, m.watchdog/2)
	}
	beat := time.NewTicker(every)
	defer beat.Stop()
	stopped := ctx.Done()
	for {
		var say []string
		select {
		case <-stopped:
			stopped, say = nil, append(say, systemd.SdNotifyStopping)
		case <-beat.C:
			say = m.beats()
		case <-m.changed:
		}
		say = append(say, m.news()...)
		if len(say) == 0 {
			continue
		}
		if _, err := systemd.SdNotify(false, strings.Join(say, "\n")); err != nil {
			return err
		}
	}
}

// beats is what to send from time to time: that the loop turns, and that the process is still
// starting.
func (m *manager) beats() (say []string) {
	if p := m.monitor.Process(); p.Began && m.watchdog > 0 && p.Late < p.Limit {
		say = append(say, systemd.SdNotifyWatchdog)
	}
	if !m.ready {
		say = append(say, fmt.Sprint("EXTEND_TIMEOUT_USEC=", patience.Microseconds()))
	}
	return say
}

// news is what has changed since the last time.
func (m *manager) news() (say []string) {
	roles := m.monitor.Roles()
	for _, r := range roles {
		if !m.ready && r.State != coordinator.Registering {
			m.ready = true
			say = append(say, systemd.SdNotifyReady)
		}
	}
	if now := describe(roles); now != m.status {
		m.status = now
		say = append(say, "STATUS="+now)
	}
	return say
}

// describe is the roles' states in a line: each by its name if there are few.
func describe(roles []coordinator.RoleStatus) string {
	const few = 8
	var parts []string
	count := map[coordinator.State]int{}
	for _, r := range roles {
		count[r.State]++
		part := fmt.Sprintf("%s in %s", r.State, r.Role)
		switch r.State {
		case coordinator.Active:
			part += fmt.Sprintf(", token %d", r.Token)
		case coordinator.Paused, coordinator.Draining, coordinator.Registering:
			part += ": " + string(r.Cause)
		}
		parts = append(parts, part)
	}
	if len(roles) > few {
		parts = nil
		for _, s := range coordinator.States() {
			if n := count[s]; n > 0 {
				parts = append(parts, fmt.Sprintf("%s in %d of %d roles", s, n, len(roles)))
			}
		}
	}
	return strings.Join(parts, "; ")
}
