package raft

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"time"
)

// A Peer is a voter of the group.
type Peer struct {
	ID      string
	Address string // host:port, as the other peers reach it
}

// A Config says which node of which group this is.
type Config struct {
	ID     string        // this node's, in Peers
	Dir    string        // its data; created if missing; no other node's
	Bind   string        // where it listens: default its own address in Peers
	Peers  []Peer        // the group: the same list on every node
	Timing time.Duration // Raft's heartbeat timeout; the same on every node: default 1 s

	// Mutual TLS: all three, or none on loopback. The certificate names the
	// node's ID as a DNS name.
	CAFile, CertFile, KeyFile string

	Logger *slog.Logger // default slog.Default()
}

// TimingFor is the timing that fits a ttl: a tenth, within 50 ms and 1 s, so that
// an election of the group fits into what the ttl rides out.
func TimingFor(ttl time.Duration) time.Duration {
	return min(max(ttl/10, 50*time.Millisecond), time.Second)
}

// ParsePeers reads "a=host:port,b=host:port".
func ParsePeers(s string) ([]Peer, error) {
	var peers []Peer
	var errs []error
	for _, one := range strings.Split(s, ",") {
		id, address, found := strings.Cut(strings.TrimSpace(one), "=")
		if !found || id == "" {
			errs = append(errs, fmt.Errorf("raft-peers: %q: write ID=HOST:PORT", one))
			continue
		}
		peers = append(peers, Peer{ID: id, Address: address})
	}
	return peers, errors.Join(errs...)
}

func (c Config) defaults() Config {
	if c.Timing == 0 {
		c.Timing = time.Second
	}
	if c.Bind == "" {
		c.Bind = c.address(c.ID)
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}

// address is a peer's, or "".
func (c Config) address(id string) string {
	for _, p := range c.Peers {
		if p.ID == id {
			return p.Address
		}
	}
	return ""
}

func (c Config) names() []string {
	var names []string
	for _, p := range c.Peers {
		names = append(names, p.ID)
	}
	return names
}

// Validate says everything that is wrong with c for a member of the group.
func (c Config) Validate() error {
	c = c.defaults()
	var errs []error
	if c.address(c.ID) == "" {
		errs = append(errs, fmt.Errorf("id %q: is not in raft-peers, which has %s", c.ID, strings.Join(c.names(), ", ")))
	}
	if c.Dir == "" {
		errs = append(errs, errors.New("raft-dir: is missing; name a directory for this node's data"))
	}
	if _, _, err := net.SplitHostPort(c.Bind); c.Bind != "" && err != nil {
		errs = append(errs, fmt.Errorf("raft-bind %q: write HOST:PORT", c.Bind))
	}
	if c.Timing < 20*time.Millisecond || c.Timing > 10*time.Second {
		errs = append(errs, fmt.Errorf("raft-timing %v: must be from 20ms to 10s", c.Timing))
	}
	return errors.Join(append(errs, c.ValidatePeers(c.Bind))...)
}

// ValidatePeers says everything that is wrong with the peer list and the TLS
// files, which is all that a client needs. also are more addresses that must be
// on loopback where there is no TLS.
func (c Config) ValidatePeers(also ...string) error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if len(c.Peers) == 0 {
		bad("raft-peers: is missing; write ID=HOST:PORT,... with every node of the group")
	}
	var ids, addresses []string
	for _, p := range c.Peers {
		host, port, err := net.SplitHostPort(p.Address)
		ip := net.ParseIP(host)
		switch {
		case err != nil || host == "" || port == "" || port == "0":
			bad("raft-peers: %s=%q: write HOST:PORT", p.ID, p.Address)
		case ip != nil && ip.IsUnspecified():
			bad("raft-peers: %s=%q: no other node can reach that; write the address that they dial", p.ID, p.Address)
		}
		if slices.Contains(ids, p.ID) {
			bad("raft-peers: the ID %q stands twice", p.ID)
		}
		if slices.Contains(addresses, p.Address) {
			bad("raft-peers: the address %q stands twice", p.Address)
		}
		ids, addresses = append(ids, p.ID), append(addresses, p.Address)
	}
	files := 0
	for _, f := range []string{c.CAFile, c.CertFile, c.KeyFile} {
		if f != "" {
			files++
		}
	}
	if files != 0 && files != 3 {
		bad("raft-ca-file, raft-cert-file, raft-key-file: give all three or none")
	}
	for _, a := range append(addresses, also...) {
		if host, _, err := net.SplitHostPort(a); files == 0 && err == nil && !loopback(host) {
			bad("%s is not on loopback: that needs --raft-ca-file, --raft-cert-file and --raft-key-file", a)
		}
	}
	return errors.Join(errs...)
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
