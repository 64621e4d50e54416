package kv

import "testing"

// TestFresh acknowledges a write and then what another call had read before it: news
// between the two are still too old, and those of another role are not. What a reading has
// answered is forgotten, and nothing else.
func TestFresh(t *testing.T) {
	l := &locker{keys: keysUnder("")}
	f := &follower{locker: l, acks: map[string]map[string]ack{}}
	l.follower = f
	key := l.keys.role("r")
	l.acknowledge(Record{Key: key, Revision: 10})
	l.acknowledge(Record{Key: key, Revision: 5})
	at := func(revision, answered uint64) []string {
		p := newPicture(l.keys, View{Revision: revision, Records: []Record{{Key: key, Revision: revision}}})
		return f.fresh(news{picture: p, answered: answered}, []string{"r", "s"})
	}
	if got := at(7, 0); len(got) != 1 || got[0] != "s" {
		t.Errorf("revision 7 after 10 was acknowledged: %v is shown, want s", got)
	}
	if got := at(10, 0); len(got) != 2 {
		t.Errorf("revision 10: %v is shown, want both", got)
	}
	if got := at(7, 1); len(got) != 2 { // the store was rolled back
		t.Errorf("read after it: %v is shown, want both", got)
	}
	l.acknowledge(Record{Key: l.keys.wish("r"), Revision: 11})
	f.forget(1)
	if got := at(10, 2); len(got) != 1 || len(f.acks["r"]) != 1 {
		t.Errorf("before a wish is read that was acknowledged last: %v is shown, want s; noted are %v", got, f.acks)
	}
	if f.forget(3); len(f.acks) != 0 {
		t.Errorf("when all was read, noted are %v", f.acks)
	}
}
