package kv

import (
	"context"
	"net"
)

// A Dial makes one connection, as [net.Dialer.DialContext] does.
type Dial func(ctx context.Context, network, address string) (net.Conn, error)
