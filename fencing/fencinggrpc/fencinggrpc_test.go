package fencinggrpc_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/understudy-ha/understudy/fencing"
	"github.com/understudy-ha/understudy/fencing/fencinggrpc"
	"github.com/understudy-ha/understudy/lock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const role = "Ablösung 1"

type text = wrapperspb.StringValue

// A service is what the tests call: one unary method and one that streams both ways.
type service struct {
	unary  func(context.Context, string) (string, error)
	stream func(grpc.ServerStream) error
}

func (s *service) desc() *grpc.ServiceDesc {
	return &grpc.ServiceDesc{
		ServiceName: "test", HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Unary", Handler: func(_ any, ctx context.Context, decode func(any) error, intercept grpc.UnaryServerInterceptor) (any, error) {
			in := &text{}
			if err := decode(in); err != nil {
				return nil, err
			}
			handle := func(ctx context.Context, in any) (any, error) {
				out, err := s.unary(ctx, in.(*text).Value)
				return wrapperspb.String(out), err
			}
			return intercept(ctx, in, &grpc.UnaryServerInfo{FullMethod: "/test/Unary"}, handle)
		}}},
		Streams: []grpc.StreamDesc{{
			StreamName: "Stream", ServerStreams: true, ClientStreams: true,
			Handler: func(_ any, stream grpc.ServerStream) error { return s.stream(stream) },
		}},
	}
}

// serve starts the service behind a gate, and returns a client's connection, with the
// interceptors and without.
func serve(t *testing.T, tokens fencing.Tokens, s *service) (fenced, plain *grpc.ClientConn) {
	t.Helper()
	gate := fencing.NewGate(tokens, role)
	server := grpc.NewServer(grpc.UnaryInterceptor(fencinggrpc.UnaryServer(gate)), grpc.StreamInterceptor(fencinggrpc.StreamServer(gate)))
	server.RegisterService(s.desc(), s)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(server.Stop)
	dial := func(opts ...grpc.DialOption) *grpc.ClientConn {
		c, err := grpc.NewClient(l.Addr().String(), append(opts, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	return dial(grpc.WithUnaryInterceptor(fencinggrpc.UnaryClient()), grpc.WithStreamInterceptor(fencinggrpc.StreamClient())), dial()
}

func with(ctx context.Context, t lock.Token) context.Context { return fencing.NewContext(ctx, role, t) }

func call(ctx context.Context, c *grpc.ClientConn) error {
	return c.Invoke(ctx, "/test/Unary", wrapperspb.String("hello"), &text{})
}

func open(t *testing.T, ctx context.Context, c *grpc.ClientConn) grpc.ClientStream {
	t.Helper()
	s, err := c.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/test/Stream")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func wantStale(t *testing.T, err error, token, current lock.Token) {
	t.Helper()
	var stale *fencing.StaleError
	if !errors.As(err, &stale) || *stale != (fencing.StaleError{Role: role, Token: token, Current: current}) {
		t.Fatalf("got %v, want token %d refused for %d", err, token, current)
	}
	if status.Code(err) != codes.FailedPrecondition {
		t.Fatalf("code %v", status.Code(err))
	}
}

func TestSmallerTokenIsRefused(t *testing.T) {
	var calls []lock.Token
	s := &service{
		unary: func(ctx context.Context, in string) (string, error) {
			name, token := fencing.FromContext(ctx)
			if name != role || in != "hello" {
				t.Errorf("the handler sees role %q, request %q", name, in)
			}
			calls = append(calls, token)
			return in, nil
		},
		stream: func(s grpc.ServerStream) error {
			_, token := fencing.FromContext(s.Context())
			calls = append(calls, token)
			m := &text{}
			return errors.Join(s.RecvMsg(m), s.SendMsg(m))
		},
	}
	conn, _ := serve(t, &fencing.Memory{}, s)
	for _, token := range []lock.Token{7, 7, 9} {
		if err := call(with(t.Context(), token), conn); err != nil {
			t.Fatal(err)
		}
	}
	echo := open(t, with(t.Context(), 9), conn)
	got := &text{}
	if err := errors.Join(echo.SendMsg(wrapperspb.String("hi")), echo.RecvMsg(got)); err != nil || got.Value != "hi" {
		t.Fatal(got, err)
	}
	wantStale(t, call(with(t.Context(), 8), conn), 8, 9)
	wantStale(t, open(t, with(t.Context(), 8), conn).RecvMsg(got), 8, 9)
	if len(calls) != 4 {
		t.Fatalf("handlers were called for %v", calls)
	}
}

func TestCodes(t *testing.T) {
	fenced, plain := serve(t, broken{}, &service{unary: func(context.Context, string) (string, error) {
		t.Error("the handler was called")
		return "", nil
	}})
	for _, c := range []struct {
		metadata []string
		want     codes.Code
	}{
		{nil, codes.InvalidArgument},
		{[]string{"fencing-role", "r"}, codes.InvalidArgument},
		{[]string{"fencing-role", "r", "fencing-token", "x"}, codes.InvalidArgument},
		{[]string{"fencing-role", "r", "fencing-token", "1", "fencing-token", "2"}, codes.InvalidArgument},
		{[]string{"fencing-role", "other", "fencing-token", "1"}, codes.PermissionDenied},
		{[]string{"fencing-role", fencing.FormatRole(role), "fencing-token", "1"}, codes.Unavailable},
	} {
		err := call(metadata.AppendToOutgoingContext(t.Context(), c.metadata...), plain)
		if status.Code(err) != c.want || errors.Is(err, fencing.ErrStale) {
			t.Errorf("%q: %v, want %v", c.metadata, err, c.want)
		}
	}
	if err := call(t.Context(), fenced); !errors.Is(err, fencing.ErrNoTerm) {
		t.Errorf("without a term: %v", err)
	}
}

type broken struct{}

func (broken) Raise(context.Context, string, lock.Token) error { return errors.New("no database") }

// TestStreamIsOvertaken: a stream of a client that says nothing more is ended by a greater
// token, which comes after its handler has returned. Sending is ended as receiving is.
func TestStreamIsOvertaken(t *testing.T) {
	for _, waits := range []string{"receives", "sends"} {
		t.Run(waits, func(t *testing.T) {
			begun, order := make(chan struct{}), make(chan string, 2)
			conn, _ := serve(t, &fencing.Memory{}, &service{
				unary: func(context.Context, string) (string, error) {
					order <- "new began"
					return "", nil
				},
				stream: func(s grpc.ServerStream) (err error) {
					close(begun)
					for err == nil { // a client that does not read stops it by flow control
						if waits == "receives" {
							err = s.RecvMsg(&text{})
						} else {
							err = s.SendMsg(wrapperspb.String(strings.Repeat("x", 1<<16)))
						}
					}
					order <- "old returned"
					return err
				},
			})
			old := open(t, with(t.Context(), 5), conn)
			<-begun
			if err := call(with(t.Context(), 6), conn); err != nil {
				t.Fatal(err)
			}
			if first, second := <-order, <-order; first != "old returned" || second != "new began" {
				t.Fatal(first, second)
			}
			var err error
			for err == nil {
				err = old.RecvMsg(&text{})
			}
			wantStale(t, err, 5, 6)
		})
	}
}
