package object

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/understudy-ha/understudy/lock"
)

// DeleteSession deletes a session's record, as a person does who edits the object. It keeps none of
// the Locker's rules, and is for proving that others do.
func DeleteSession(ctx context.Context, o Object, id lock.SessionID) error {
	for {
		v, err := o.Get(ctx)
		if err != nil {
			return err
		}
		if v.Version == "" {
			return fmt.Errorf("there is no session %s: nothing is there", id)
		}
		r, err := decode(v.Data)
		if err != nil {
			return err
		}
		session, ok := r.Ledger.Sessions[id]
		if !ok {
			return fmt.Errorf("there is no session %s", id)
		}
		delete(r.Ledger.Claims, session.Contender.ID)
		delete(r.Ledger.Sessions, id)
		data, err := json.Marshal(r)
		if err != nil {
			return err
		}
		if _, err = o.Put(ctx, data, v.Version); !errors.Is(err, ErrConflict) {
			return err
		}
	}
}
