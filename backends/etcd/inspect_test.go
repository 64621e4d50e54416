package etcd

import (
	"reflect"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// TestClusterOf puts answers of endpoints together: learners are not members, and who has not
// answered is known only where each member may have an endpoint.
func TestClusterOf(t *testing.T) {
	three := []*pb.Member{{ID: 1, Name: "a"}, {ID: 2, Name: "b"}, {ID: 3}, {ID: 4, Name: "learner", IsLearner: true}}
	silent := answer{}
	for name, c := range map[string]struct {
		all  []answer
		want Cluster
	}{
		"nobody answers":    {[]answer{silent}, Cluster{Answered: []string{}}},
		"all answer":        {[]answer{{1, 2, three, false, nil}, {2, 2, three, false, nil}, {3, 2, three, false, nil}}, Cluster{[]string{"a", "b", "3"}, "b", []string{"a", "b", "3"}, false}},
		"one is silent":     {[]answer{{1, 0, three, false, nil}, silent, {3, 1, three, false, nil}}, Cluster{[]string{"a", "b", "3"}, "a", []string{"a", "3"}, false}},
		"one endpoint":      {[]answer{{1, 2, three, false, nil}}, Cluster{[]string{"a", "b", "3"}, "b", nil, false}},
		"one twice":         {[]answer{{1, 1, three, false, nil}, {1, 1, three, false, nil}, silent}, Cluster{[]string{"a", "b", "3"}, "a", []string{"a"}, false}},
		"no leader":         {[]answer{{1, 0, three[:1], false, nil}}, Cluster{[]string{"a"}, "", []string{"a"}, false}},
		"one is full":       {[]answer{{1, 1, three[:1], true, nil}}, Cluster{[]string{"a"}, "a", []string{"a"}, true}},
		"only a learner is": {[]answer{{4, 1, three[3:], false, nil}}, Cluster{Answered: []string{}}},
	} {
		if got := clusterOf(c.all); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}
