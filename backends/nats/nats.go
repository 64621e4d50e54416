// Package nats keeps the contract of package lock in one key of a key-value bucket of NATS
// JetStream. Package object says what is in the key, and what each call does.
//
// What is read comes from the leader of the bucket's stream, never from a replica. See
// docs/nats.md.
package nats

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/understudy-ha/understudy/backends/object"
	"github.com/understudy-ha/understudy/lock"
)

// Open returns a Locker on the key. It connects when it is first used.
func Open(_ context.Context, c Config) (lock.Locker, error) {
	s, err := newStore(c)
	if s == nil {
		return nil, err
	}
	return object.Open(s, limit), nil
}

// limit is how many bytes a value may have: a server's default max_payload, less what headers take.
const limit = 1<<20 - 4<<10

// A store is the key.
type store struct {
	Config
	ctx    context.Context // of everything, until Close
	cancel context.CancelCauseFunc
	group  sync.WaitGroup

	mu     sync.Mutex
	link   *link   // nil: none was made yet
	search *search // nil: none goes on
	worked bool    // a connection was made
}

var _ object.Object = (*store)(nil)

func newStore(c Config) (*store, error) {
	err := c.Validate()
	if err != nil {
		return nil, err
	}
	s := &store{Config: c}
	s.Bucket, s.Group = cmp.Or(c.Bucket, DefaultName), cmp.Or(c.Group, DefaultName)
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	if c.Logger != nil && c.files().Used() {
		s.group.Go(func() { c.files().Mind(s.ctx, c.Logger) })
	}
	return s, nil
}

func (s *store) stream() string  { return "KV_" + s.Bucket }
func (s *store) subject() string { return "$KV." + s.Bucket + "." + s.Group }

// Get is object.Object's. A missing bucket counts as a missing key.
func (s *store) Get(ctx context.Context) (object.Value, error) {
	return with(ctx, s, func(ctx context.Context, l *link) (object.Value, error) {
		v, _, err := s.read(ctx, l)
		return v, err
	})
}

// read asks the stream's leader for the key's last message, and also says its sequence: a message that
// says that the key was deleted has one, too. The library would ask any replica that allows direct reads.
func (s *store) read(ctx context.Context, l *link) (v object.Value, last uint64, err error) {
	ask, _ := json.Marshal(map[string]string{"last_by_subj": s.subject()})
	res, err := l.conn.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+s.stream(), ask)
	if err != nil {
		return v, 0, err
	}
	var said struct {
		Error   *jetstream.APIError
		Message struct {
			Seq  uint64
			Hdrs []byte
			Data []byte
		}
	}
	if err := json.Unmarshal(res.Data, &said); err != nil {
		return v, 0, err
	}
	if e := said.Error; e != nil {
		if e.ErrorCode == jetstream.JSErrCodeMessageNotFound || e.ErrorCode == jetstream.JSErrCodeStreamNotFound {
			return v, 0, nil
		}
		return v, 0, e
	}
	m := said.Message
	header, _ := nats.DecodeHeadersMsg(m.Hdrs) // nil where there are none
	return l.value(m.Seq, header, m.Data), m.Seq, nil
}

// wordHeader is the header with a word that is new with each write.
const wordHeader = "Understudy-Write"

// version is a message's sequence, which is given again after a restore, and the word of its write, which is not.
func version(seq uint64, word string) string { return strconv.FormatUint(seq, 10) + " " + word }

// value is that of a message, which the connection has told: none if it says that the key was deleted.
func (l *link) value(seq uint64, h nats.Header, data []byte) (v object.Value) {
	if h.Get("KV-Operation") == "" && h.Get("Nats-Marker-Reason") == "" {
		v = object.Value{Data: data, Version: version(seq, h.Get(wordHeader))}
	}
	l.tell(&v.Version)
	return v
}

// Put is object.Object's. NATS compares the sequence alone. So where the connection does not vouch for the
// version, as the consumer of one that watches does, the key is read first: after a restore its word is another.
func (s *store) Put(ctx context.Context, data []byte, old string) (object.Value, error) {
	return with(ctx, s, func(ctx context.Context, l *link) (v object.Value, err error) {
		number, _, _ := strings.Cut(old, " ")
		last, _ := strconv.ParseUint(number, 10, 64) // 0 where there is none
		if old == "" || !l.stands(old) {
			if v, last, err = s.read(ctx, l); err != nil {
				return object.Value{}, err
			}
			if v.Version != old {
				return v, object.ErrConflict
			}
		}
		word := rand.Text()
		ack, err := l.js.PublishMsg(ctx, &nats.Msg{Subject: s.subject(), Data: data, Header: nats.Header{wordHeader: {word}}},
			jetstream.WithExpectLastSequencePerSubject(last), jetstream.WithRetryAttempts(0))
		if says(err, jetstream.JSErrCodeStreamWrongLastSequence, jetstream.JSErrCodeStreamWrongLastSequenceConstant) {
			return object.Value{}, object.ErrConflict
		}
		if err != nil {
			return object.Value{}, err
		}
		v.Version = version(ack.Sequence, word)
		l.tell(&v.Version)
		return object.Value{Version: v.Version}, nil
	})
}

const (
	heartbeat = time.Second
	deaf      = 3 * heartbeat // after which a consumer is taken for dead: its server was lost, say
)

// Changed is object.Object's. It listens by an ephemeral consumer, which tells what was committed.
func (s *store) Changed(ctx context.Context, version string) (object.Value, error) {
	l, err := s.current(ctx)
	if err != nil {
		return object.Value{}, s.named(err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(l.ctx, func() { cancel(context.Cause(l.ctx)) })()
	for {
		ear, err := s.listen(ctx, l)
		if err != nil {
			return object.Value{}, s.named(err)
		}
		short, done := context.WithTimeout(ctx, deaf)
		m, err := ear.NextMsgWithContext(short)
		done()
		if ctx.Err() != nil {
			return object.Value{}, context.Cause(ctx)
		}
		if err != nil {
			l.unlisten(ear)
			return object.Value{}, nil
		}
		about, err := m.Metadata()
		if err != nil { // not a value
			if m.Header.Get("Status") == "100" { // a heartbeat
				l.tell(nil)
			}
			continue
		}
		if v := l.value(about.Sequence.Stream, m.Header, m.Data); v.Version != version {
			return v, nil
		}
	}
}

// listen returns the subscription to a consumer of the key.
func (s *store) listen(ctx context.Context, l *link) (*nats.Subscription, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ear != nil {
		return l.ear, nil
	}
	ear, err := l.conn.SubscribeSync(l.conn.NewInbox())
	if err != nil {
		return nil, err
	}
	if _, err = l.js.CreatePushConsumer(ctx, s.stream(), jetstream.ConsumerConfig{
		DeliverSubject: ear.Subject, FilterSubject: s.subject(), DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy,
		AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1, IdleHeartbeat: heartbeat, InactiveThreshold: deaf,
	}); err != nil {
		_ = ear.Unsubscribe() // which fails where the connection has ended
		return nil, err
	}
	l.ear, l.known = ear, "" // of this consumer, who tells first what is there
	return ear, nil
}

func (l *link) unlisten(ear *nats.Subscription) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = ear.Unsubscribe() // which fails where the connection has ended
	if l.ear == ear {
		l.ear = nil
	}
}

// Start is object.Object's: when the stream was made, in units of 4 µs, and 256 for each of its messages.
// So it rises in one stream whatever the clock does, and with the next stream if that was made later.
// It makes the bucket.
func (s *store) Start(ctx context.Context) (uint64, error) {
	return with(ctx, s, func(ctx context.Context, l *link) (uint64, error) {
		info, err := s.look(ctx, l)
		if err == nil && info == nil {
			info, err = s.create(ctx, l)
		}
		if err != nil {
			return 0, err
		}
		return uint64(info.Created.UnixMicro()/4) + info.State.LastSeq<<8, nil
	})
}

// Close is object.Object's.
func (s *store) Close() error {
	s.mu.Lock()
	s.cancel(errClosed)
	s.mu.Unlock()
	s.group.Wait()
	if s.link != nil {
		s.link.end(errClosed)
	}
	return nil
}

func says(err error, codes ...jetstream.ErrorCode) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && slices.Contains(codes, api.ErrorCode)
}
