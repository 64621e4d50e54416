package coordinator

import "time"

// pulseEvery is how often the witness must hear that the loop turns.
func (r *runner) pulseEvery() time.Duration {
	if r.config.HangTimeout < 0 || !r.config.witnessed() {
		return never
	}
	return r.config.HangTimeout / 10
}

// check asks whether this process is healthy, until Run ends.
func (r *runner) check() {
	for r.calls.Err() == nil {
		r.checking.Store(true)
		err := r.config.Healthy(r.calls)
		r.checking.Store(false)
		e := event{kind: checked, outcome: outcomeOf(err)}
		r.post(news{event: e, err: err})
		select {
		case <-r.calls.Done():
		case <-time.After(r.config.HealthEvery):
		}
	}
}
