package etcd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// A Cluster is what an etcd cluster says about itself.
type Cluster struct {
	Members  []string // the names of those that vote
	Leader   string   // its name; "": unknown
	Answered []string // Members that answered at an endpoint; nil: not each of them has one
	Full     bool     // its alarm NOSPACE is raised: it refuses every write until that is disarmed
}

// Inspect asks every endpoint of c who the members are, and whether it answers. Asking for the
// members needs no right on any key. An error says why nobody answered.
func Inspect(ctx context.Context, c Config) (Cluster, error) {
	if err := c.Validate(); err != nil {
		return Cluster{}, err
	}
	answers := make(chan answer, len(c.Endpoints))
	for _, e := range c.Endpoints {
		go func() { answers <- inspect(ctx, c, e) }()
	}
	var all []answer
	var errs []error
	for range c.Endpoints {
		a := <-answers
		all, errs = append(all, a), append(errs, a.err)
	}
	found := clusterOf(all)
	if len(found.Members) == 0 {
		return found, errors.Join(errs...)
	}
	return found, nil
}

// An answer is one endpoint's answer.
type answer struct {
	member, leader uint64 // 0: unknown
	members        []*pb.Member
	full           bool
	err            error // of either question
}

func inspect(ctx context.Context, c Config, endpoint string) (a answer) {
	c.Endpoints, c.Logger = []string{endpoint}, nil
	m := newMembers(c)
	defer m.close()
	a.err = m.call(ctx, func(ctx context.Context, client *clientv3.Client) (*pb.ResponseHeader, error) {
		st, err := pb.NewMaintenanceClient(client.ActiveConnection()).Status(ctx, &pb.StatusRequest{})
		if err != nil {
			return nil, rpctypes.Error(err)
		}
		a.member, a.leader = st.Header.MemberId, st.Leader
		a.full = strings.Contains(strings.Join(st.Errors, "\n"), pb.AlarmType_NOSPACE.String()) // alarms come as texts
		list, err := pb.NewClusterClient(client.ActiveConnection()).MemberList(ctx, &pb.MemberListRequest{})
		if err != nil {
			return nil, rpctypes.Error(err)
		}
		a.members = list.Members
		return st.Header, nil
	})
	return a
}

// clusterOf combines the answers of the endpoints. If there are fewer endpoints than members,
// nobody can say whether a member that no endpoint is known to reach answers.
func clusterOf(all []answer) (found Cluster) {
	names := map[uint64]string{}
	for _, a := range all {
		for _, m := range a.members {
			if names[m.ID] == "" && !m.IsLearner {
				names[m.ID] = cmp.Or(m.Name, fmt.Sprintf("%x", m.ID))
				found.Members = append(found.Members, names[m.ID])
			}
		}
	}
	for _, a := range all {
		found.Leader = cmp.Or(found.Leader, names[a.leader])
		found.Full = found.Full || a.full
	}
	if len(all) < len(found.Members) {
		return found
	}
	found.Answered = []string{}
	for _, a := range all {
		if name := names[a.member]; name != "" && !slices.Contains(found.Answered, name) {
			found.Answered = append(found.Answered, name)
		}
	}
	return found
}
