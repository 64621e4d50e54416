package fencinggrpc_test

import (
	"errors"
	"fmt"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"

	"github.com/understudy-ha/understudy/fencing"
	"github.com/understudy-ha/understudy/fencing/fencinggrpc"
)

// TestStale reads the refusal of a token, and nothing else that looks like it.
func TestStale(t *testing.T) {
	refusal := func(code codes.Code, reason, domain string, more ...protoadapt.MessageV1) error {
		info := &errdetails.ErrorInfo{Reason: reason, Domain: domain, Metadata: map[string]string{"role": "r", "token": "5", "current": "6"}}
		s, err := status.New(code, "no").WithDetails(append(more, info)...)
		if err != nil {
			t.Fatal(err)
		}
		return s.Err()
	}
	const reason, domain, failed = fencinggrpc.Reason, fencinggrpc.Domain, codes.FailedPrecondition
	for what, c := range map[string]struct {
		err   error
		stale bool
	}{
		"the refusal":                    {refusal(failed, reason, domain), true},
		"the refusal, among other words": {refusal(failed, reason, domain, &errdetails.LocalizedMessage{Message: "nein"}), true},
		"another code":                   {refusal(codes.Aborted, reason, domain), false},
		"another reason":                 {refusal(failed, "FULL", domain), false},
		"another's":                      {refusal(failed, reason, "example.org"), false},
		"no status":                      {errors.New("no"), false},
		"no error":                       {nil, false},
		"no detail":                      {status.Error(failed, "no"), false},
	} {
		got := fencinggrpc.Stale(c.err)
		var stale *fencing.StaleError
		if errors.As(got, &stale) != c.stale || !errors.Is(got, c.err) || c.stale && (stale.Token != 5 || stale.Current != 6) {
			t.Errorf("%s: %v", what, got)
		}
		if again := fencinggrpc.Stale(got); fmt.Sprint(again) != fmt.Sprint(got) {
			t.Errorf("%s, read again, is %v", what, again)
		}
	}
}

// TestOneOfEach: a call with two roles is refused as one with none is.
func TestOneOfEach(t *testing.T) {
	_, plain := serve(t, &fencing.Memory{}, &service{})
	r := fencing.FormatRole(role)
	for _, pairs := range [][]string{{"fencing-role", r, "fencing-role", r, "fencing-token", "1"}, {"fencing-token", "1"}} {
		if err := call(metadata.AppendToOutgoingContext(t.Context(), pairs...), plain); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%q: %v", pairs, err)
		}
	}
}
