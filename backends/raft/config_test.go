package raft

import (
	"io"
	"strings"
	"testing"
	"time"
)

func TestParsePeers(t *testing.T) {
	peers, err := ParsePeers("a=127.0.0.1:1, b=[::1]:2")
	if err != nil || len(peers) != 2 || peers[1] != (Peer{"b", "[::1]:2"}) {
		t.Fatalf("%v, %v", peers, err)
	}
	for list, want := range map[string]string{
		"":                            "the list is empty",
		"a":                           "write ID=HOST:PORT",
		"a=localhost":                 "missing port",
		"a=localhost:http":            "from 1 to 65535",
		"=localhost:1":                "must not be empty",
		"a=0.0.0.0:1":                 "not an address that others can reach",
		"a=[::]:1":                    "not an address that others can reach",
		"a=localhost:1,a=localhost:2": "an ID of its own",
		"a=localhost:1,b=localhost:1": "an address of its own",
	} {
		if _, err := ParsePeers(list); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: want an error with %q, got %v", list, want, err)
		}
	}
}

func TestValidateReportsEverythingAtOnce(t *testing.T) {
	c := Config{
		ID: "x", Bind: "0.0.0.0", Timing: time.Millisecond, CertFile: "c.pem",
		Peers: []Peer{{"a", "10.0.0.1:1"}, {"b", "0.0.0.0:1"}},
	}
	err := c.Validate()
	for _, want := range []string{"Dir: ", `ID: "x" is not in the list`, "Bind: ", "1ms must be from 20ms to 10s", "0.0.0.0:1", "KeyFile: "} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error with %q, got %v", want, err)
		}
	}
	c.CertFile = ""
	if err := c.Validate(); !strings.Contains(err.Error(), "CAFile, CertFile and KeyFile: ") {
		t.Errorf("want an error that names the three fields, got %v", err)
	}
}

// TestBindPort: the port to listen on is checked as the others are, before anything listens. 0 is none: the others call
// the one in the list.
func TestBindPort(t *testing.T) {
	for port, good := range map[string]bool{"1": true, "65535": true, "0": false, "65536": false, "-1": false, "http": false, "": false} {
		c := Config{ID: "a", Dir: "d", Peers: []Peer{{"a", "127.0.0.1:1"}}, Bind: "127.0.0.1:" + port}
		if err := c.Validate(); (err == nil) != good || !good && !strings.Contains(err.Error(), "Bind: ") || !good && !strings.Contains(err.Error(), "must be a number from 1 to 65535") {
			t.Errorf("port %q: %v", port, err)
		}
	}
}

// TestAddressesNeedTLSOnce: a list of addresses of other machines is one mistake, not one for each of them.
func TestAddressesNeedTLSOnce(t *testing.T) {
	c := Config{Peers: []Peer{{"a", "127.0.0.1:1"}, {"b", "10.0.0.2:1"}, {"c", "10.0.0.3:1"}}}
	if err := c.ValidatePeers(); err == nil || strings.Count(err.Error(), "is not loopback") != 1 || !strings.Contains(err.Error(), `"b", 10.0.0.2:1`) {
		t.Errorf("got %v", err)
	}
}

// TestWhyNobodyLeads: where enough voters answer, nobody is told that they do not reach each other.
func TestWhyNobodyLeads(t *testing.T) {
	g := Group{Voters: []string{"a", "b", "c"}}
	gone := answer{err: io.EOF}
	for _, c := range []struct {
		answers map[string]answer
		want    string
	}{
		{map[string]answer{"b": gone, "c": gone}, "too few of its voters reach each other"},
		{map[string]answer{"b": {}}, "enough of its voters answer, and have elected none yet"},
		{map[string]answer{"b": {}, "c": {}}, "enough of its voters answer, and have elected none yet"},
		{nil, "too few of its voters reach each other"},
		{map[string]answer{"x": {}}, "too few of its voters reach each other"}, // who does not vote
	} {
		if got := g.unled("a", g.there("a", c.answers)); got != c.want {
			t.Errorf("%v: %q, want %q", c.answers, got, c.want)
		}
	}
}

// TestWhoIsFollowed: a node that hears nothing is told of the leader that the others have, and not of itself.
func TestWhoIsFollowed(t *testing.T) {
	follows := func(leader string) answer { return answer{h: hello{Leader: leader}} }
	for _, c := range []struct {
		answers map[string]answer
		want    string
	}{
		{map[string]answer{"b": follows(""), "c": {err: io.EOF}}, ""},
		{map[string]answer{"a": follows("b"), "b": follows("")}, ""},
		{map[string]answer{"b": follows("a")}, ""},
		{map[string]answer{"b": follows("b"), "c": {err: io.EOF}}, "b"},
	} {
		if got := followed("a", c.answers); got != c.want {
			t.Errorf("%v: %q, want %q", c.answers, got, c.want)
		}
	}
}

func TestEvenNumberOfVotersIsAWarning(t *testing.T) {
	for n, want := range []string{"", "", "two voters survive no failure", "", "4 voters survive no more failures than 3 do: 1", ""} {
		if text := GroupOf(make([]Peer, n)).Weak(); want == "" && text != "" || !strings.HasPrefix(text, want) {
			t.Errorf("%d voters: %q", n, text)
		}
	}
}

func TestTimingFollowsTheTTL(t *testing.T) {
	for ttl, want := range map[time.Duration]time.Duration{
		100 * time.Millisecond: 50 * time.Millisecond, 2 * time.Second: 200 * time.Millisecond, time.Hour: time.Second,
	} {
		if got := TimingFor(ttl); got != want {
			t.Errorf("%s: got %s, want %s", ttl, got, want)
		}
	}
}

// TestPortsAndNames: a port is from 1 to 65535, and a name in a certificate has the letters of one.
func TestPortsAndNames(t *testing.T) {
	for address, good := range map[string]bool{
		"10.0.0.1:1": true, "host:65535": true, "host:65536": false, "host:0": false, "host:-1": false, "host:x": false, "host": false,
	} {
		if err := checkAddress(Peer{ID: "a", Address: address}); (err == nil) != good {
			t.Errorf("address %q: %v", address, err)
		}
	}
	for id, good := range map[string]bool{"aZ09-_.": true, "a b": false, "a/b": false, "ä": false, "a:1": false, "[": false, "`": false} {
		if isDNSName(id) != good {
			t.Errorf("%q is a name: %v", id, !good)
		}
	}
}
