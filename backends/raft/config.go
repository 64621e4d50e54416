package raft

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/internal/clientconf"
	"github.com/understudy-ha/understudy/lock"
)

// A Config says who a node is, who its peers are, and where it keeps its data. The tags are
// those of backends.Store.
type Config struct {
	ID string // of this node; one of Peers

	// Peers are every voter of the group, this one too. A group begins when everyone in this
	// list has answered that its own names the same IDs. To take a peer off the list later
	// does not take it out of the group: Group.Differs says what counts.
	Peers []Peer `setting:"every node of the group, the same on each: ID=HOST:PORT,..."`

	// Dir is the data directory, of this node alone. One that holds only a part of a node's
	// state, an older raft.db, or the state of another node or group is refused, and so is a
	// copy while the node itself runs. Never restore one from a backup: that is noticed only
	// where a peer has heard of more. Remove it while a majority of the group is well, and
	// the node comes back as a new one.
	Dir string `member:"this node's data"`

	Bind string `member:"HOST:PORT to listen on (default the node's address in raft.peers)"`

	// Observer: the node follows the group and is not counted, until an operator promotes it. The
	// group's lists leave it out; it is let in once the group is there.
	Observer bool `member:"follow the group and be no voter, until understudy raft member promote" default:"false"`

	// DeadAfter: the leader takes out a voter that has not answered it for so long, if those that are
	// left are a majority that lives. Zero: never. At least a hundred times the timing.
	DeadAfter time.Duration `member:"take out a voter that is silent for so long, while the rest is a living majority (default never)"`

	// Timing is Raft's heartbeat and election timeout, and the group's: it must be the same
	// on every node, and should exceed the disk's slowest fsync and twice the round trip
	// between peers. Zero means one second. TimingFor derives it from a ttl.
	Timing time.Duration `member:"Raft's heartbeat timeout, the same on every node (default ttl/10, within 50ms and 1s)"`

	// Mutual TLS: all three or none. A node's certificate names its ID as a DNS
	// name; Open checks it. All are read again for every connection, so renewing them needs
	// no restart, and a warning says when they run out. Without them only loopback addresses
	// are allowed.
	CAFile   string `setting:"the group's certificate authority, which signs for nothing else"`
	CertFile string `setting:"this node's certificate, with its ID as a DNS name"`
	KeyFile  string `setting:"its key"`

	Logger *slog.Logger `json:"-"` // nil: none

	snapshots snapshots     // for tests
	listen    time.Duration // for tests; 0: see listenFor
}

// A Peer is a voter of the group: its ID, and the one address at which the
// others reach it.
type Peer struct{ ID, Address string }

// String returns the peer as ParsePeers reads it.
func (p Peer) String() string { return p.ID + "=" + p.Address }

// snapshots says when the log is cut. Zero values mean the defaults.
type snapshots struct {
	threshold, trailing uint64
	interval            time.Duration
	bytes               int // of the log
}

const (
	minTiming     = 20 * time.Millisecond
	maxTiming     = 10 * time.Second
	defaultTiming = time.Second
)

// TimingFor returns the timing that fits a ttl: a tenth of it, within 50 ms and
// 1 s, so that a re-election fits into what the ttl rides out.
func TimingFor(ttl time.Duration) time.Duration {
	return min(max(ttl/10, 50*time.Millisecond), time.Second)
}

var errNoPeers = inPeers("the list is empty, write ID=HOST:PORT for every node, separated by commas")

func inPeers(format string, args ...any) error {
	return lock.InFields(fmt.Errorf(format, args...), "Peers")
}

// ParsePeers reads "a=host:port,b=host:port,...". It reports every mistake at
// once.
func ParsePeers(list string) ([]Peer, error) {
	if strings.TrimSpace(list) == "" {
		return nil, errNoPeers
	}
	var peers []Peer
	var errs []error
	for i, item := range strings.Split(list, ",") {
		id, address, ok := strings.Cut(strings.TrimSpace(item), "=")
		if !ok {
			errs = append(errs, inPeers("entry %d, %q: write ID=HOST:PORT", i+1, item))
			continue
		}
		if words := strings.Fields(item); len(words) > 1 {
			errs = append(errs, inPeers("entry %d, %q: has blanks; write commas between the nodes: %s", i+1, item, strings.Join(words, ",")))
			continue
		}
		peers = append(peers, Peer{ID: id, Address: address})
	}
	return peers, errors.Join(append(errs, checkPeers(peers))...)
}

// checkPeers says everything that is wrong with a list of peers.
func checkPeers(peers []Peer) error {
	var errs []error
	ids, addresses := map[string]string{}, map[string]string{}
	for _, p := range peers {
		wrong := checkAddress(p)
		errs = append(errs, lock.InFields(lock.CheckName("ID", p.ID), "Peers"), wrong)
		if other, ok := ids[p.ID]; ok {
			errs = append(errs, inPeers("ID %q stands at %s and at %s, give every node an ID of its own", p.ID, other, p.Address))
		}
		if other, ok := addresses[p.Address]; ok && wrong == nil {
			errs = append(errs, inPeers("address %q belongs to %q and to %q, give every node an address of its own", p.Address, other, p.ID))
		}
		ids[p.ID], addresses[p.Address] = p.Address, p.ID
	}
	return errors.Join(errs...)
}

func checkAddress(p Peer) error {
	host, port, err := net.SplitHostPort(p.Address)
	if err != nil {
		return inPeers("address %q of %q: %s, write HOST:PORT", p.Address, p.ID, reason(err))
	}
	if err := clientconf.CheckPort(port); err != nil {
		return inPeers("address %q of %q: %w", p.Address, p.ID, err)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		err := fmt.Errorf("address %q of %q is not an address that others can reach; write the node's own host in the one, and where to listen in the other", p.Address, p.ID)
		return lock.InFields(err, "Peers", "Bind")
	}
	return nil
}

func reason(err error) string {
	var bad *net.AddrError
	if errors.As(err, &bad) {
		return bad.Err
	}
	return err.Error()
}

// Validate reports everything that is wrong with c, in one pass. Each error is a
// lock.FieldError.
func (c Config) Validate() error {
	errs := []error{c.ValidatePeers()}
	if c.Dir == "" {
		errs = append(errs, lock.InFields(errors.New("must not be empty; name a data directory of this node alone"), "Dir"))
	}
	self := slices.IndexFunc(c.Peers, func(p Peer) bool { return p.ID == c.ID })
	if self < 0 && len(c.Peers) > 0 {
		err := fmt.Errorf("%q is not in the list of peers %s: add %s=HOST:PORT, or use an ID of the list", c.ID, formatPeers(c.Peers), c.ID)
		errs = append(errs, lock.InFields(err, "ID"))
	}
	if c.Bind != "" {
		if _, port, err := net.SplitHostPort(c.Bind); err != nil {
			errs = append(errs, lock.InFields(fmt.Errorf("%q: %s, write HOST:PORT", c.Bind, reason(err)), "Bind"))
		} else if err := clientconf.CheckPort(port); err != nil {
			errs = append(errs, lock.InFields(fmt.Errorf("%q: %w: the other nodes call it", c.Bind, err), "Bind"))
		} else if c.CertFile == "" && !loopback(c.Bind) {
			errs = append(errs, noTLS("the address to listen on", c.Bind))
		}
	}
	errs = append(errs, c.ValidateTiming(), c.checkDead())
	return errors.Join(errs...)
}

// ValidatePeers says everything that is wrong with how the group is reached, which
// is all that Dial needs.
func (c Config) ValidatePeers() error {
	if len(c.Peers) == 0 {
		return errNoPeers
	}
	errs := []error{checkPeers(c.Peers)}
	if n := len(formatPeers(c.Peers)); n > maxPeers {
		errs = append(errs, fmt.Errorf("peers: the list has %d bytes, the limit is %d", n, maxPeers))
	}
	given := 0
	for _, file := range []string{c.CAFile, c.CertFile, c.KeyFile} {
		if file != "" {
			given++
		}
	}
	switch {
	case given == 3:
		for _, p := range c.Peers {
			if !isDNSName(p.ID) {
				errs = append(errs, inPeers("ID %q: under TLS an ID is the DNS name in the node's certificate, write letters, digits, '-', '_' and '.' only", p.ID))
			}
		}
		errs = append(errs, c.checkFiles(""))
	case given > 0:
		errs = append(errs, lock.InFields(errors.New("give all of them, or none"), "CAFile", "CertFile", "KeyFile"))
	default:
		away := slices.DeleteFunc(slices.Clone(c.Peers), func(p Peer) bool { return checkAddress(p) != nil || loopback(p.Address) })
		if len(away) > 0 {
			errs = append(errs, noTLS("the address of "+strconv.Quote(away[0].ID), away[0].Address))
		}
	}
	return errors.Join(errs...)
}

// checkFiles says what is wrong with the files for TLS, as they are now. Our certificate must bear the name
// where that is not empty.
func (c Config) checkFiles(name string) error {
	_, err := c.files().Roots()
	err = errors.Join(lock.InFields(err, "CAFile"), lock.InFields(c.files().Check(), "CertFile"))
	if err == nil {
		err = lock.InFields(c.files().CheckPeer(name), "CertFile")
	}
	return err
}

func noTLS(what, address string) error {
	return lock.InFields(fmt.Errorf("none is given, and %s, %s, is not loopback: give all of them, or a loopback address", what, address), "CAFile", "CertFile", "KeyFile")
}

// loopback reports whether an address is surely one of this machine alone.
func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
}

func isDNSName(id string) bool {
	return !strings.ContainsFunc(id, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_' && r != '.'
	})
}

func formatPeers(peers []Peer) string {
	all := make([]string, len(peers))
	for i, p := range peers {
		all[i] = p.String()
	}
	slices.Sort(all)
	return strings.Join(all, ",")
}

// ValidateTiming says what is wrong with the group's timing.
func (c Config) ValidateTiming() error {
	if t := c.timing(); t < minTiming || t > maxTiming {
		return lock.InFields(fmt.Errorf("%s must be from %s to %s, write %s for a ttl of 10s", t, minTiming, maxTiming, TimingFor(10*time.Second)), "Timing")
	}
	return nil
}

// Election is how long the group takes to choose another leader, as measured at the median.
func (c Config) Election() time.Duration { return c.timing() * 23 / 10 }

func (c Config) timing() time.Duration {
	if c.Timing == 0 {
		return defaultTiming
	}
	return c.Timing
}

// attempt is how long a node waits for one answer of a peer. Peers may be MaxTrip apart,
// and who has no connection yet needs several trips.
func (c Config) attempt() time.Duration { return max(attempt, 4*MaxTrip(c.timing())) }

// forwards is how long a node tries to have applied what a client asks of it: who follows
// sends it to the leader, a trip away, which commits it in another one. Less than twice
// that, and clients of peers that are far from each other get no answer from anybody.
func (c Config) forwards() time.Duration { return max(patience, 4*MaxTrip(c.timing())) }

func (c Config) logger() *slog.Logger {
	if c.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return c.Logger
}

// peer returns the peer with the ID; the zero Peer where there is none.
func (c Config) peer(id string) Peer {
	for _, p := range c.Peers {
		if p.ID == id {
			return p
		}
	}
	return Peer{}
}

// others returns the peers without this node.
func (c Config) others() []Peer {
	return slices.DeleteFunc(slices.Clone(c.Peers), func(p Peer) bool { return p.ID == c.ID })
}

// bind returns the address to listen on.
func (c Config) bind() string {
	if c.Bind != "" {
		return c.Bind
	}
	return c.peer(c.ID).Address
}
