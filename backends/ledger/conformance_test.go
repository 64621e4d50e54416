package ledger_test

import (
	"context"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backends/memory"
	"github.com/understudy-ha/understudy/conformance"
	"github.com/understudy-ha/understudy/conformance/conformancetest"
)

// TestSuite runs the whole suite on a ledger behind a mutex, in virtual time.
func TestSuite(t *testing.T) {
	lacks := map[conformance.Fault]string{}
	for _, fault := range []conformance.Fault{
		conformance.Cut, conformance.CutReplies, conformance.CutRequests, conformance.Refuse, conformance.Restart,
		conformance.Pause, conformance.KillLeader, conformance.Save, conformance.Compact, conformance.DeleteSession,
		conformance.RevokeLease, conformance.LoseNode, conformance.Leftovers, conformance.DeleteRole, conformance.Overwrite,
	} {
		lacks[fault] = "the store is a value in this process"
	}
	conformancetest.Run(t, conformance.Suite{
		New: func(context.Context) (*conformance.Store, error) {
			s := memory.New()
			return &conformance.Store{Open: func(context.Context) (*conformance.Client, error) { return &conformance.Client{Locker: s.Open()}, nil }}, nil
		},
		Lacks:   lacks,
		Virtual: true, Slack: time.Millisecond, History: time.Minute,
	})
}
