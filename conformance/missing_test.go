package conformance

import (
	"context"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
)

// TestIncompleteTableIsRefused takes one fault after the other from a suite that is whole: it names that fault, and runs
// no case.
func TestIncompleteTableIsRefused(t *testing.T) {
	refused := func(t *testing.T, s Suite, f Fault) {
		t.Helper()
		ok, err := s.Check(t.Context(), func(r Result) { t.Errorf("without %s the case %s was run", f, r.Case) })
		if ok || err == nil || !strings.HasPrefix(err.Error(), "fault "+string(f)+": ") || strings.Contains(err.Error(), "\n") {
			t.Errorf("without %s: %v", f, err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		whole := onShelf(mistake{})
		if err := whole.Validate(t.Context()); err != nil {
			t.Fatal(err)
		}
		for f := range whole.Lacks {
			s := whole
			s.Lacks = maps.Clone(whole.Lacks)
			delete(s.Lacks, f)
			refused(t, s, f)
		}
		for f, take := range map[Fault]func(s *Store){
			Restart:       func(s *Store) { s.Restart = nil },
			DeleteSession: func(s *Store) { s.DeleteSession = nil },
			DeleteRole:    func(s *Store) { s.DeleteRole = nil },
			Overwrite:     func(s *Store) { s.Overwrite = nil },
			Cut:           ofClient(func(c *Client) { c.Cut = nil }),
			CutReplies:    ofClient(func(c *Client) { c.CutReplies = nil }),
			CutRequests:   ofClient(func(c *Client) { c.CutRequests = nil }),
			Refuse:        ofClient(func(c *Client) { c.Refuse = nil }),
		} {
			s := whole
			s.New = func(ctx context.Context) (*Store, error) {
				store, err := whole.New(ctx)
				take(store)
				return store, err
			}
			refused(t, s, f)
		}
	})
}

// ofClient takes something from every client of a store.
func ofClient(take func(c *Client)) func(s *Store) {
	return func(s *Store) {
		open := s.Open
		s.Open = func(ctx context.Context) (*Client, error) {
			c, err := open(ctx)
			take(c)
			return c, err
		}
	}
}
