package kubernetes

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/backends/ledger"
	"github.com/understudy-ha/understudy/backends/object"
	"github.com/understudy-ha/understudy/lock"
)

// The annotations. The record is the object, see package object; the write is another one each time.
const (
	recordKey = "understudy-ha.github.io/record"
	writeKey  = "understudy-ha.github.io/write"
)

// A lease is the part of a Lease that counts here.
type lease struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   meta   `json:"metadata"`
	Spec       spec   `json:"spec"`
}

type meta struct {
	Name            string            `json:"name"`
	ResourceVersion string            `json:"resourceVersion,omitempty"`
	Annotations     map[string]string `json:"annotations,omitempty"`
}

// A spec is for people, and for electors that do not know us.
type spec struct {
	Holder      string `json:"holderIdentity,omitempty"`
	Seconds     int    `json:"leaseDurationSeconds,omitempty"`
	Acquired    string `json:"acquireTime,omitempty"`
	Renewed     string `json:"renewTime,omitempty"`
	Transitions int    `json:"leaseTransitions,omitempty"`
}

// A version is what a Put compares. The holder and the transitions are in it so that the next Put can count
// them.
type version struct {
	resource    string
	write       string
	holder      string
	transitions int
}

func (v version) String() string {
	return fmt.Sprintf("%s %s %d %s", v.resource, v.write, v.transitions, v.holder)
}

func parse(text string) (v version, err error) {
	parts := strings.SplitN(text, " ", 4)
	if len(parts) != 4 {
		return v, lock.Permanent(fmt.Errorf("%q is not a version", text))
	}
	v.resource, v.write, v.holder = parts[0], parts[1], parts[3]
	v.transitions, err = strconv.Atoi(parts[2])
	return v, err
}

func (l lease) version() version {
	return version{l.Metadata.ResourceVersion, l.Metadata.Annotations[writeKey], l.Spec.Holder, l.Spec.Transitions}
}

// blank reports whether nobody has used the Lease: then it is ours, as if it were not there.
func (l lease) blank() bool {
	return l.Spec == spec{} && l.Metadata.Annotations[recordKey] == ""
}

// value is what the Lease holds. Every write of ours names the time that it leaves in the spec; another
// one there means that another elector, such as client-go's, uses the Lease too.
func (l lease) value() (object.Value, error) {
	if l.blank() {
		return object.Value{}, nil
	}
	data, there := l.Metadata.Annotations[recordKey]
	if at, _, _ := strings.Cut(l.Metadata.Annotations[writeKey], "/"); !there || at != l.Spec.Renewed {
		return object.Value{}, lock.Permanent(lock.InFields(fmt.Errorf(
			"%w: the Lease %s is another elector's, held by %q since %s; name another one, or delete it once that elector is gone",
			object.ErrForeign, l.Metadata.Name, l.Spec.Holder, l.Spec.Acquired), "Lease"))
	}
	return object.Value{Data: []byte(data), Version: l.version().String()}, nil
}

// A step is one of a JSON patch.
type step struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"`
}

func annotation(key string) string {
	return "/metadata/annotations/" + strings.ReplaceAll(key, "/", "~1")
}

// patch replaces the record of a Lease if it is still the one that was read. The resource's version would be
// enough, were a backup never restored: after that it counts the same numbers again. Whatever else people
// and tools have put there stays.
func (l lease) patch(data []byte, write string, was version, now spec) []step {
	steps := []step{{"test", "/metadata/resourceVersion", was.resource}}
	switch {
	case was.write != "":
		steps = append(steps, step{"test", annotation(writeKey), was.write})
	case len(l.Metadata.Annotations) == 0:
		steps = append(steps, step{"add", "/metadata/annotations", struct{}{}})
	}
	return append(steps, step{"add", annotation(recordKey), string(data)}, step{"add", annotation(writeKey), write}, step{"add", "/spec", now})
}

// specOf is what the Lease shows of a record.
func specOf(data []byte, was version, at time.Time) (s spec, err error) {
	var r struct{ Ledger *ledger.Ledger }
	if err := json.Unmarshal(data, &r); err != nil || r.Ledger == nil {
		return s, lock.Permanent(fmt.Errorf("what is to be written holds no ledger: %w", err))
	}
	active := map[string]lock.Term{}
	for role := range r.Ledger.Roles {
		if t := r.Ledger.Standing(role).Term; !t.Vacant() {
			active[role] = t
		}
	}
	var names []string
	var ttl time.Duration
	for _, role := range slices.Sorted(maps.Keys(active)) {
		t := active[role]
		names = append(names, role+"="+t.Holder.ID)
		if len(active) == 1 {
			names[0] = t.Holder.ID
		}
		ttl = max(ttl, t.Holder.TTL)
		s.Acquired = max(s.Acquired, stamp(t.Since))
	}
	s.Holder, s.Renewed, s.Transitions = strings.Join(names, ","), stamp(at), was.transitions
	if len(active) > 0 {
		s.Seconds = int(min(math.Ceil(ttl.Seconds()), math.MaxInt32))
	}
	if s.Holder != "" && s.Holder != was.holder {
		s.Transitions++
	}
	return s, nil
}

// stamp is a time as a Lease has it.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000Z") }
