package nats

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/understudy-ha/understudy/internal/certs"
	"github.com/understudy-ha/understudy/internal/clientconf"
	"github.com/understudy-ha/understudy/lock"
)

// What is refused, by name.
var (
	// ErrForgets means that the bucket may lose what it has acknowledged.
	ErrForgets = errors.New("this bucket may forget what it has acknowledged")

	// ErrUnfit means that the bucket has a setting with which no lock can be kept in it.
	ErrUnfit = errors.New("no lock can be kept in this bucket")
)

// look asks for the bucket, and refuses one that is unfit. Nil: there is none.
func (s *store) look(ctx context.Context, l *link) (*jetstream.StreamInfo, error) {
	if most := l.conn.MaxPayload(); most < 1<<20 {
		return nil, lock.Permanent(fmt.Errorf("%w: the server's max_payload is %d, and at least %d are needed; raise it", ErrUnfit, most, 1<<20))
	}
	stream, err := l.js.Stream(ctx, s.stream())
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, nil
	}
	return s.fitting(stream, err)
}

func (s *store) fitting(stream jetstream.Stream, err error) (*jetstream.StreamInfo, error) {
	if err != nil {
		return nil, err
	}
	info := stream.CachedInfo()
	return info, s.fit(info.Config)
}

// fit says what is wrong with the settings of the stream below a bucket.
func (s *store) fit(c jetstream.StreamConfig) error {
	for _, one := range []struct {
		wrong bool
		why   string
	}{
		{!slices.Equal(c.Subjects, []string{"$KV." + s.Bucket + ".>"}), "its stream has other subjects than a bucket's"},
		{c.Mirror != nil || len(c.Sources) > 0, "it has a mirror or sources, so others write it"},
		{c.MaxAge != 0, "it has a ttl, after which values vanish"},
		{c.Retention != jetstream.LimitsPolicy, "its retention removes values that were read"},
		{c.Discard != jetstream.DiscardNew && (c.MaxBytes > 0 || c.MaxMsgs > 0), "its discard policy removes values when it is full"},
		{c.MaxMsgSize > 0 && c.MaxMsgSize < limit, fmt.Sprintf("its values may have %d bytes, and %d are needed", c.MaxMsgSize, limit)},
		{c.NoAck, "it acknowledges nothing (no_ack)"},
		{c.Sealed, "it is sealed"},
		{c.SubjectTransform != nil, "it transforms subjects"},
	} {
		if one.wrong {
			return lock.Permanent(lock.InFields(fmt.Errorf("%w: %s: %s; name another one, or make it as docs/nats.md says", ErrUnfit, s.Bucket, one.why), "Bucket"))
		}
	}
	if s.MayForget {
		return nil
	}
	why := ""
	switch {
	case c.Storage != jetstream.FileStorage:
		why = "it is in memory; make one in files"
	case c.PersistMode == jetstream.AsyncPersistMode:
		why = "it acknowledges before it writes (persist_mode async); make one without"
	case c.Replicas < 3:
		why = fmt.Sprintf("its replicas are %d; give it 3", c.Replicas)
	default:
		return nil
	}
	return lock.Permanent(lock.InFields(fmt.Errorf("%w: %s, or allow it here", ErrForgets, why), "MayForget"))
}

// create makes the bucket, of three replicas.
func (s *store) create(ctx context.Context, l *link) (*jetstream.StreamInfo, error) {
	c := jetstream.StreamConfig{
		Name: s.stream(), Subjects: []string{"$KV." + s.Bucket + ".>"}, MaxMsgsPerSubject: 1, Replicas: 3,
		Storage: jetstream.FileStorage, Discard: jetstream.DiscardNew, DenyDelete: true, AllowRollup: true,
	}
	stream, err := l.js.CreateStream(ctx, c)
	if alone := says(err, noCluster, noPeers); alone && s.MayForget {
		c.Replicas = 1
		stream, err = l.js.CreateStream(ctx, c)
	} else if alone {
		return nil, lock.Permanent(lock.InFields(fmt.Errorf("%w: these are not three servers, so it has one replica; allow it here (%w)", ErrForgets, err), "MayForget"))
	}
	return s.fitting(stream, err)
}

// Error codes of JetStream.
const (
	noPeers   = 10005
	noCluster = 10074
)

// named says what to do about an error, and whether trying again can help.
func (s *store) named(err error) error {
	s.mu.Lock()
	worked := s.worked
	s.mu.Unlock()
	final := func(why, what error) error {
		why = certs.Mismatch(why)
		if worked || !certs.Every(err, func(one error) bool { return errors.Is(one, what) }) {
			return lock.Refusal(why) // another of the servers may be back
		}
		return lock.Permanent(why)
	}
	switch {
	case errors.Is(err, nats.ErrSecureConnWanted):
		return final(lock.InFields(fmt.Errorf("the server speaks no TLS (%w); if that is meant, write nats://", err), "URL"), nats.ErrSecureConnWanted)
	case !s.Secure() && errors.Is(err, nats.ErrTLS): // the library makes TLS where a server wants it, and knows none of our files
		return final(lock.InFields(fmt.Errorf("the server speaks TLS; write tls://, and name its authorities (%w)", err), "URL", "CAFile"), nats.ErrTLS)
	case errors.Is(err, nats.ErrTLS):
		return certs.Mismatch(err)
	case errors.Is(err, nats.ErrNoResponders), errors.Is(err, jetstream.ErrJetStreamNotEnabled):
		return lock.Refusal(lock.InFields(fmt.Errorf("a server answers, but no JetStream does, which keeps the bucket (%w): it is starting, or these servers have none: give them one (-js, or jetstream {} in their configuration), or name others", err), "URL"))
	case errors.Is(err, nats.ErrMaxPayload):
		return lock.Permanent(err) // nothing was sent
	case clientconf.Dropped(err):
		return lock.InFields(fmt.Errorf("what answers there ends the connection without a word (%w): it is not NATS's port for clients, which is 4222 by default, or the server is being stopped", err), "URL")
	case err == nil || !strings.Contains(strings.ToLower(err.Error()), "authorization violation"):
		return err
	}
	if err = s.unknown(err); worked { // the password is being changed
		return lock.Refusal(err)
	}
	return lock.Permanent(err)
}

// Inspect returns the servers that keep the bucket, the one that leads, and those that are well.
// Where there is no cluster the server is HOST:PORT.
func Inspect(ctx context.Context, c Config) (servers []string, leader string, well []string, err error) {
	c.Logger = nil
	s, err := newStore(c)
	if err != nil {
		return nil, "", nil, err
	}
	_, err = with(ctx, s, func(ctx context.Context, l *link) (none struct{}, err error) {
		info, err := s.look(ctx, l)
		if err != nil {
			return none, err
		}
		if info == nil || info.Cluster == nil || info.Cluster.Leader == "" || len(info.Cluster.Replicas) == 0 {
			leader = strings.TrimPrefix(l.conn.ConnectedAddr(), "tls://")
			servers, well = []string{leader}, []string{leader}
			return none, nil
		}
		leader = info.Cluster.Leader
		servers, well = []string{leader}, []string{leader}
		for _, one := range info.Cluster.Replicas {
			servers = append(servers, one.Name)
			if one.Current && !one.Offline {
				well = append(well, one.Name)
			}
		}
		return none, nil
	})
	return servers, leader, well, errors.Join(err, s.Close())
}
