package admin

import (
	"encoding/json"
	"math"
	"net/http"
	"time"

	"github.com/understudy-ha/understudy/coordinator"
)

// A processRow is the answer of /v1/status. Its names are stable.
type processRow struct {
	ID        string            `json:"id"`
	Address   string            `json:"address,omitempty"`
	Labels    map[string]string `json:"labels,omitempty"`
	Session   string            `json:"session,omitempty"` // none: it is not registered
	TTL       string            `json:"ttl"`
	Skew      string            `json:"skew"`
	Witness   bool              `json:"witness"`
	Stopping  bool              `json:"stopping"`
	Live      bool              `json:"live"`  // as /livez
	Ready     bool              `json:"ready"` // as /readyz
	Why       string            `json:"why,omitempty"`
	Unhealthy string            `json:"unhealthy,omitempty"` // why
	Store     storeRow          `json:"store"`
	Beats     beatsRow          `json:"beats"`
	Dropped   droppedRow        `json:"dropped"`
	Roles     []roleRow         `json:"roles"`
}

type storeRow struct {
	Answers     bool              `json:"answers"`
	LastAnswer  *time.Time        `json:"lastAnswer"` // null: there was none
	LastError   string            `json:"lastError,omitempty"`
	LastErrorAt *time.Time        `json:"lastErrorAt,omitempty"`
	Errors      map[string]uint64 `json:"errors"`
}

type beatsRow struct {
	Acknowledged uint64  `json:"acknowledged"`
	Failed       uint64  `json:"failed"`
	MeanSeconds  float64 `json:"meanSeconds"`
}

type droppedRow struct {
	LogLines    uint64 `json:"logLines"`
	Transitions uint64 `json:"transitions"`
	Events      uint64 `json:"events"` // of the history
}

type roleRow struct {
	Role    string     `json:"role"`
	State   string     `json:"state"`
	Cause   string     `json:"cause"`
	Reason  string     `json:"reason,omitempty"`
	Since   time.Time  `json:"since"`
	Token   uint64     `json:"token"`
	Left    float64    `json:"promiseLeftSeconds"`
	Ready   bool       `json:"ready"`
	Lag     *lag       `json:"lagSeconds,omitempty"` // without it the role has no log
	Active  *activeRow `json:"active"`               // as the store said last; null: nobody, or it is not known
	Unknown bool       `json:"activeUnknown,omitempty"`
}

// A lag is how old a copy of a role's log may be, in seconds; null where there is no copy yet.
type lag float64

func (l lag) MarshalJSON() ([]byte, error) {
	if math.IsInf(float64(l), 1) {
		return []byte("null"), nil
	}
	return json.Marshal(float64(l))
}

type activeRow struct {
	ID      string    `json:"id"`
	Address string    `json:"address,omitempty"`
	Token   uint64    `json:"token"`
	Since   time.Time `json:"since"`
}

// statusOf is everything that is known of the process, or of one role.
func statusOf(q question) answer {
	if q.URL.Query().Has("role") {
		return q.one(func(r coordinator.RoleStatus) answer { return answer{http.StatusOK, rowOf(r)} })
	}
	p, roles := q.process, q.monitor.Roles()
	row := processRow{
		ID: p.ID, Address: p.Address, Labels: p.Labels, Session: string(p.Session), TTL: p.Promise.TTL.String(), Skew: p.Promise.Skew.String(),
		Witness: p.Witness, Stopping: p.Stopping, Live: dead(p, roles) == nil, Unhealthy: text(p.Unhealthy), Roles: []roleRow{},
		Store:   storeRow{Answers: !p.Blind(), LastAnswer: moment(p.Heard), LastError: text(p.LastError), LastErrorAt: moment(p.FailedAt), Errors: p.Errors},
		Beats:   beatsRow{Acknowledged: p.Beats, Failed: p.BeatsFailed},
		Dropped: droppedRow{p.LinesDropped, p.MovesDropped, p.EventsDropped},
	}
	if why := unready(p, roles); why != nil {
		row.Why = why.Error()
	}
	row.Ready = row.Why == ""
	if n := p.BeatTimes.Count; n > 0 {
		row.Beats.MeanSeconds = p.BeatTimes.Sum.Seconds() / float64(n)
	}
	for _, r := range roles {
		row.Roles = append(row.Roles, rowOf(r))
	}
	return answer{http.StatusOK, row}
}

func rowOf(r coordinator.RoleStatus) roleRow {
	row := roleRow{
		Role: r.Role, State: string(r.State), Cause: string(r.Cause), Reason: text(r.Reason), Since: r.Since, Token: uint64(r.Token),
		Left: r.Left.Seconds(), Ready: r.Ready, Unknown: !r.Known,
	}
	if r.Lag >= 0 {
		row.Lag = new(lag(r.LagSeconds()))
	}
	if t := r.Holder; r.Known && !t.Vacant() {
		row.Active = &activeRow{t.Holder.ID, t.Holder.Address, uint64(t.Token), t.Since}
	}
	return row
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// moment is a time, or nil if there was none.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
