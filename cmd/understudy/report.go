package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/understudy-ha/understudy/backends"
	"github.com/understudy-ha/understudy/lock"
)

// A report is what status prints as JSON. Its names are stable.
type report struct {
	Store storeRow  `json:"store"`
	Roles []roleRow `json:"roles"`
}

type storeRow struct {
	Name     string   `json:"name"`
	Identity string   `json:"identity,omitempty"`
	Members  []string `json:"members,omitempty"`
	Leader   string   `json:"leader,omitempty"`
	Silent   []string `json:"silent,omitempty"`
	Barred   []string `json:"barred,omitempty"` // those of silent with which TLS fails from here
	Failing  []string `json:"failing,omitempty"`
	Quorum   int      `json:"quorum,omitempty"`
	Margin   *int     `json:"margin,omitempty"`  // nil: unknown
	Refuses  string   `json:"refuses,omitempty"` // why every write is refused although members answer

	Unanswered string `json:"unanswered,omitempty"` // with --watch: that the store does not answer, so that the roles are as last seen

	text string // for people
}

type roleRow struct {
	Role     string      `json:"role"`
	Active   *activeRow  `json:"active"` // null: nobody
	Last     string      `json:"last,omitempty"`
	Paused   *pauseRow   `json:"paused,omitempty"`
	Fence    *fenceRow   `json:"fence,omitempty"`
	Request  *requestRow `json:"request,omitempty"`
	Standbys []memberRow `json:"standbys"`
}

type activeRow struct {
	memberRow
	Token       uint64    `json:"token"`
	Since       time.Time `json:"since"`
	PromiseLeft float64   `json:"promiseLeft"` // seconds
}

// A pauseRow says that nobody takes the role over.
type pauseRow struct {
	By    string    `json:"by"`
	Why   string    `json:"why,omitempty"`
	At    time.Time `json:"at,omitzero"`
	Until time.Time `json:"until,omitzero"` // zero: until it is resumed
	Stop  bool      `json:"stop"`           // the active must stop, too

	text string // for people
}

// A fenceRow says whose fence command runs, or ran, against the host of the active, silent since
// the beat that is shown.
type fenceRow struct {
	By string    `json:"by"`
	At time.Time `json:"at,omitzero"`
}

type requestRow struct {
	To string `json:"to"`
	By string `json:"by"`
}

type memberRow struct {
	ID       string            `json:"id"`
	Witness  bool              `json:"witness"` // it has a witness: a crash costs milliseconds
	Address  string            `json:"address,omitempty"`
	Labels   map[string]string `json:"labels,omitempty"`
	Session  string            `json:"session"`
	Beat     uint64            `json:"beat"` // the revision of the last one seen; 0: the session's record is missing
	BeatAt   time.Time         `json:"beatAt,omitzero"`
	TTL      string            `json:"ttl"`
	Priority int               `json:"priority"`
	Ready    bool              `json:"ready"`
	Drained  bool              `json:"drained"`
	Unfit    string            `json:"unfit,omitempty"`       // why it would not take over, or must not
	Set      *int              `json:"setPriority,omitempty"` // by an operator, in place of its own
	SetBy    string            `json:"setBy,omitempty"`       // who drained it, or set the priority
	Silent   string            `json:"silent,omitempty"`      // why it counts as silent; "": it does not

	needed bool // its node is a voter that the majority cannot do without
}

// newReport combines what the store and its servers said.
func newReport(name string, h backends.Health, all []heard) report {
	r := report{Store: storeRow{Name: name, Members: h.Members, Leader: h.Leader, Silent: h.Silent, Barred: h.Barred, Failing: h.Failing, Refuses: h.Refuses, text: h.String()}, Roles: []roleRow{}}
	if len(h.Members) > 0 {
		r.Store.Quorum = h.Quorum()
	}
	if margin, ok := h.Margin(); ok {
		r.Store.Margin = &margin
	}
	for _, one := range all {
		r.Store.Identity = one.Store
		role := newRole(one)
		if (backends.Config{Backend: name}).Row().Inside { // its contenders are its servers
			role.need(h)
		}
		r.Roles = append(r.Roles, role)
	}
	return r
}

// need marks the contenders whose crash would cost embedded Raft its majority.
func (r *roleRow) need(h backends.Health) {
	if r.Active != nil {
		r.Active.needed = needs(h, r.Active.ID)
	}
	for i := range r.Standbys {
		r.Standbys[i].needed = needs(h, r.Standbys[i].ID)
	}
}

// needs reports whether the majority cannot do without a member that works.
func needs(h backends.Health, id string) bool {
	margin, known := h.Margin()
	return known && margin == 0 && slices.Contains(h.Members, id) && !slices.Contains(h.Silent, id) && !slices.Contains(h.Failing, id)
}

func newRole(st heard) roleRow {
	r := roleRow{Role: st.Role, Standbys: []memberRow{}}
	if t := st.Term; !t.Vacant() {
		row := activeRow{memberRow: newMember(t.Holder), Token: uint64(t.Token), Since: t.Since}
		row.Silent = st.silent
		if !t.Holder.BeatAt.IsZero() {
			row.PromiseLeft = max(0, t.Holder.TTL-st.at.Sub(t.Holder.BeatAt)).Round(time.Millisecond).Seconds()
		}
		r.Active = &row
	} else if t.Token != 0 {
		how := t.Over
		if how == "" {
			how = fmt.Sprintf("ended by %s: %s", t.End.By, t.End.Why)
		}
		r.Last = fmt.Sprintf("%s, token %d, %s", t.Holder.ID, t.Token, how)
	}
	if p := st.Pause; !p.IsZero() {
		r.Paused = &pauseRow{By: p.By, Why: p.Why, At: p.At, Until: p.Until, Stop: p.Stop, text: pausedBy(p)}
	}
	if f := st.Fence; !f.IsZero() {
		r.Fence = &fenceRow{f.By, f.At}
	}
	for _, m := range st.Line {
		row := newMember(m)
		row.Silent = st.lapsed(m)
		r.Standbys = append(r.Standbys, row)
		if st.Request.To == m.Session && st.Request.Token == st.Term.Token {
			r.Request = &requestRow{m.ID, st.Request.By}
		}
	}
	return r
}

func newMember(m lock.Member) memberRow {
	row := memberRow{
		ID: m.ID, Witness: m.Witness, Address: m.Address, Labels: m.Labels, Session: string(m.Session),
		Beat: uint64(m.Beat), BeatAt: m.BeatAt, TTL: m.TTL.String(), Priority: m.Priority, Ready: m.Ready(),
		Drained: m.Settings.Drained, Unfit: unfit(m), SetBy: m.Settings.By,
	}
	for _, p := range m.Settings.Priorities { // only this role's
		row.Set = &p
	}
	if m.Beat == lock.Absent {
		row.BeatAt = time.Time{}
	}
	return row
}

// heard is a role's standing, and what was heard of its active.
type heard struct {
	lock.Standing
	at     time.Time // when that was seen
	silent string    // why its active counts as silent; "": it does not
}

// lapsed says that the promise of a standby is over for long, by its clock, though others have not ended its session yet; "":
// it is not. One that is dead is shown until then.
func (h heard) lapsed(m lock.Member) string {
	if age := h.at.Sub(m.BeatAt); m.Beat != lock.Absent && !m.BeatAt.IsZero() && age > m.TTL+m.Skew+m.TTL/2 {
		return "the last beat " + ago(age) + ", by its clock"
	}
	return ""
}

// listen waits for a beat of each active whose last one is old by its owner's clock, for as long
// as one takes to come, but no longer than ctx allows.
func listen(ctx context.Context, l lock.Locker, all []lock.Standing) []heard {
	found, told := make([]heard, len(all)), make(chan struct{}, len(all))
	for i, st := range all {
		go func() {
			found[i] = listenTo(ctx, l, st)
			told <- struct{}{}
		}()
	}
	for range all {
		<-told
	}
	return found
}

func listenTo(ctx context.Context, l lock.Locker, st lock.Standing) heard {
	now := time.Now()
	h := heard{Standing: st, at: now}
	m := st.Term.Holder
	age := now.Sub(m.BeatAt)
	switch {
	case st.Term.Vacant():
		return h
	case m.Beat == lock.Absent:
		h.silent = recordMissing
		return h
	case age < m.TTL/2 && age > -m.TTL/2:
		return h
	}
	patience := m.TTL/4 + m.TTL/8 // a beat, and a try
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for st, err := range l.Watch(ctx, st.Role) {
		if err == nil && (st.Term.Token != h.Term.Token || st.Term.Holder.Beat != m.Beat) {
			h.Standing, h.at = st, time.Now()
			if !st.Term.Vacant() && st.Term.Holder.Beat == lock.Absent {
				h.silent = recordMissing
			}
			return h
		}
	}
	// A watch that ends too early proves nothing, but then a promise that is over by its owner's clock counts as over.
	if waited := time.Since(now); waited >= patience || age >= m.TTL {
		h.silent = fmt.Sprintf("no beat for %v, the last one %s", waited.Round(100*time.Millisecond), ago(age))
	}
	return h
}

const recordMissing = "its session's record is missing"

// ago is how long ago something was, by a clock that may differ from ours.
func ago(d time.Duration) string {
	switch {
	case d < 0:
		return "in the future"
	case d < 10*time.Second:
		return d.Round(100*time.Millisecond).String() + " ago"
	}
	return d.Round(time.Second).String() + " ago"
}

func (r report) show(out io.Writer, format string) error {
	return show(out, format, r, func(page io.Writer) {
		w := tabwriter.NewWriter(page, 0, 0, 2, ' ', 0)
		fmt.Fprint(w, "store ", r.Store.Name)
		if r.Store.Identity != "" {
			fmt.Fprint(w, " ", r.Store.Identity)
		}
		if r.Store.text != "" {
			fmt.Fprint(w, ": ", r.Store.text)
		}
		fmt.Fprintln(w)
		for _, role := range r.Roles {
			role.print(w, time.Now())
		}
		_ = w.Flush() // into a string
	})
}

func (r roleRow) print(w io.Writer, now time.Time) {
	fmt.Fprintf(w, "\nrole %s\n", r.Role)
	if r.Request != nil {
		fmt.Fprintf(w, "%s asked for a handoff to %s\n", r.Request.By, r.Request.To)
	}
	if f := r.Fence; f != nil {
		fmt.Fprintf(w, "%s fences the host of the active, which is silent, since %s\n", f.By, f.At.Format(time.RFC3339))
	}
	if r.Paused != nil {
		fmt.Fprintf(w, "%s: nobody takes over\n", r.Paused.text)
	}
	if r.Active == nil {
		text := "nobody is active"
		if r.Last != "" {
			text += "; the last was " + r.Last
		}
		fmt.Fprintln(w, text)
		if len(r.Standbys) == 0 {
			return
		}
	}
	fmt.Fprintln(w, "ID\tSTATE\tTOKEN\tSINCE\tLAST BEAT (ITS CLOCK)\tLEFT OF TTL\tA CRASH COSTS\tADDRESS\tLABELS")
	if a := r.Active; a != nil {
		state := "active"
		if a.Silent != "" {
			state = "silent: " + a.Silent
		}
		if a.Drained {
			state += ", " + a.Unfit
		}
		left := time.Duration(a.PromiseLeft * float64(time.Second)).Round(100 * time.Millisecond)
		a.print(w, now, state+a.set(), fmt.Sprint(a.Token), a.Since.Format(time.RFC3339), fmt.Sprintf("%v of %s", left, a.TTL))
	}
	for i, m := range r.Standbys {
		state := fmt.Sprintf("standby %d", i)
		if m.Unfit != "" {
			state += ", " + m.Unfit
		}
		if m.Silent != "" {
			state += ", silent"
		}
		m.print(w, now, state+m.set(), "-", "-", m.TTL)
	}
}

// set says which priority an operator has set; "": none.
func (m memberRow) set() string {
	if m.Set == nil {
		return ""
	}
	return fmt.Sprintf(", priority %d set by %s", *m.Set, m.SetBy)
}

func (m memberRow) print(w io.Writer, now time.Time, state, token, since, ttl string) {
	beat, crash, labels := "missing", m.TTL, []string{}
	if !m.BeatAt.IsZero() {
		beat = ago(now.Sub(m.BeatAt))
	}
	switch {
	case m.needed:
		crash = "the store's majority"
	case m.Witness:
		crash = "ms (witness)"
	}
	for _, key := range slices.Sorted(maps.Keys(m.Labels)) {
		labels = append(labels, key+"="+m.Labels[key])
	}
	fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", m.ID, state, token, since, beat, ttl, crash, m.Address, strings.Join(labels, ","))
}
