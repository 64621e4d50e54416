// Package fencinggrpc carries the token of a term in the metadata of gRPC calls, and
// refuses those whose token is smaller than one that the server has seen.
//
// The server answers
//
//	FailedPrecondition  the token is stale; an ErrorInfo with the reason STALE_TOKEN says
//	                    which one is current
//	InvalidArgument     the call has no role or no token, or an invalid one
//	PermissionDenied    the role is not guarded here
//	Unavailable         the greatest token could not be read, or calls under a smaller
//	                    one have not returned in time
//
// and the handler has not been called. FailedPrecondition is for calls that must not be repeated
// unchanged; Aborted would invite a retry.
package fencinggrpc

import (
	"errors"
	"fmt"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/understudy-ha/understudy/fencing"
)

// The reason and the domain of the ErrorInfo that says that a token is stale.
const (
	Reason = "STALE_TOKEN"
	Domain = "understudy"
)

// The names in metadata.
var (
	roleKey  = strings.ToLower(fencing.RoleHeader)
	tokenKey = strings.ToLower(fencing.TokenHeader)
)

// refusal is the status of an error of fencing.Gate.
func refusal(err error) error {
	var stale *fencing.StaleError
	switch {
	case errors.As(err, &stale):
		s := status.New(codes.FailedPrecondition, err.Error())
		info := &errdetails.ErrorInfo{Reason: Reason, Domain: Domain, Metadata: map[string]string{
			"role": fencing.FormatRole(stale.Role), "token": fencing.FormatToken(stale.Token), "current": fencing.FormatToken(stale.Current),
		}}
		if detailed, err := s.WithDetails(info); err == nil {
			s = detailed
		}
		return s.Err()
	case errors.Is(err, fencing.ErrRole):
		return status.Error(codes.PermissionDenied, err.Error())
	}
	return status.Error(codes.Unavailable, err.Error())
}

// Stale returns err with the *fencing.StaleError that it means, which errors.As then finds beside
// the status; it returns err itself if the server did not refuse the token. The interceptors of
// this package already return such errors.
func Stale(err error) error {
	s, ok := status.FromError(err)
	if !ok || s.Code() != codes.FailedPrecondition || errors.Is(err, fencing.ErrStale) {
		return err
	}
	for _, detail := range s.Details() {
		info, ok := detail.(*errdetails.ErrorInfo)
		if !ok || info.GetReason() != Reason || info.GetDomain() != Domain {
			continue
		}
		role, token, err1 := fencing.Parse(info.GetMetadata()["role"], info.GetMetadata()["token"])
		_, current, err2 := fencing.Parse(info.GetMetadata()["role"], info.GetMetadata()["current"])
		if errors.Join(err1, err2) == nil {
			return fmt.Errorf("%w (%w)", &fencing.StaleError{Role: role, Token: token, Current: current}, err)
		}
	}
	return err
}
