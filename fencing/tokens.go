package fencing

import (
	"context"
	"sync"

	"github.com/understudy-ha/understudy/lock"
)

// Tokens remembers the greatest token of each role. It is safe for concurrent use.
type Tokens interface {
	// Raise remembers t if no greater token of the role was seen. nil: t is now the greatest one,
	// as durably as these Tokens are. A *StaleError: there is a greater one. After any other
	// error either may be true.
	Raise(ctx context.Context, role string, t lock.Token) error
}

// Memory remembers tokens as long as the process lives. It protects only things that are also
// lost with the process. The zero Memory is empty and ready for use.
type Memory struct {
	mu       sync.Mutex
	greatest map[string]lock.Token
}

// Raise never waits, and fails only with a *StaleError.
func (m *Memory) Raise(_ context.Context, role string, t lock.Token) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if now := m.greatest[role]; t < now {
		return &StaleError{Role: role, Token: t, Current: now}
	}
	if m.greatest == nil {
		m.greatest = map[string]lock.Token{}
	}
	m.greatest[role] = t
	return nil
}
