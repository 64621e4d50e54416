package admin

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/internal/history"
)

// A historyRow is the answer of /v1/history. Its names are stable.
type historyRow struct {
	Role   string        `json:"role"`
	Events []history.Row `json:"events"`
}

// Limits of what /v1/history asks of the store.
const (
	historyFresh = time.Second     // for how long an answer is given again
	historyWait  = 2 * time.Second // for the store
)

// Histories answer with what the store has recorded of a process's roles. They ask it once a
// second for each role, however many clients ask. They wait for the store and for nothing of the
// coordinator's.
type histories struct {
	monitor *coordinator.Monitor
	mu      sync.Mutex
	roles   map[string]*pastOf // only those of the process
}

// A pastOf is the last answer about one role.
type pastOf struct {
	mu     sync.Mutex
	asked  time.Time
	answer answer
}

func newHistories(m *coordinator.Monitor) *histories {
	return &histories{monitor: m, roles: map[string]*pastOf{}}
}

func (h *histories) answer(q question) answer {
	return q.one(func(r coordinator.RoleStatus) answer {
		h.mu.Lock()
		past := h.roles[r.Role]
		if past == nil {
			past = &pastOf{}
			h.roles[r.Role] = past
		}
		h.mu.Unlock()
		past.mu.Lock()
		defer past.mu.Unlock()
		if past.asked.IsZero() || time.Since(past.asked) > historyFresh {
			past.answer = h.ask(r.Role)
			past.asked = time.Now()
		}
		return past.answer
	})
}

// ask asks the store, even if the client has gone: others may ask the same.
func (h *histories) ask(role string) answer {
	ctx, cancel := context.WithTimeout(context.Background(), historyWait)
	defer cancel()
	events, err := h.monitor.History(ctx, role)
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return refuse(http.StatusNotImplemented, "the store of this process keeps no history")
	case err != nil:
		return refuse(http.StatusServiceUnavailable, "the store does not answer: "+err.Error())
	}
	return answer{http.StatusOK, historyRow{role, history.Rows(events)}}
}
