package raft

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// watchDirectory notes whether somebody removes or replaces the data directory below this node. The node goes on with the files
// that it has open, and nothing is lost yet: so it stays a member that votes, as it may be needed for a majority. But it takes
// no role, and does not lead, because a leader cannot make a snapshot then, and a node that needs one could not join. Where a disk does
// not answer, nothing is known. It also looks how much room there is, because an idle node writes nothing.
func (n *node) watchDirectory(ctx context.Context) {
	const lost = "the data directory is gone"
	file := filepath.Join(n.config.Dir, logFile)
	ours, _ := os.Stat(file) // nil: it is gone already
	for ; ctx.Err() == nil; rest(ctx, time.Second) {
		n.dir.look()
		now, err := os.Stat(file)
		is := errors.Is(err, fs.ErrNotExist) || err == nil && ours != nil && !os.SameFile(ours, now)
		switch n.dir.lost.Store(is); {
		case is && n.said.due(lost):
			n.log.Error(lost+", or another one is in its place: this node takes no role and does not lead; start it again, and while the others have a majority it comes back as one that has lost its directory",
				"id", n.config.ID, "dir", n.config.Dir)
		case !is && err == nil && n.said.over(lost):
			n.log.Info("the data directory is back", "id", n.config.ID)
		}
		if is && n.running() && n.leading() {
			within, stop := context.WithTimeout(ctx, n.config.attempt())
			_ = n.handOver(within) // it says who leads; and if nobody else can, this node goes on
			stop()
		}
	}
}
