package mpi

import (
	"bufio"
	"net"
	"strings"
	"testing"
	"time"
)

// Rank 0 that ended first would be taken for the rank that is at fault.
func TestRankZeroTellsTheOthersBeforeItEnds(t *testing.T) {
	here, there := net.Pipe() // what is written waits until it is read
	defer there.Close()
	g := &group{size: 3, lost: make(chan struct{})}
	g.watch = &watch{g: g, peers: []*peer{{rank: 2, conn: here}}}
	go g.watch.gone(note{Rank: 1, Host: "h", Why: "its encoder died"})
	select {
	case <-g.lost:
		t.Error("rank 0 may end, and rank 2 knows nothing")
	case <-time.After(50 * time.Millisecond):
	}
	if said, err := bufio.NewReader(there).ReadString('\n'); err != nil || !strings.Contains(said, "its encoder died") {
		t.Errorf("rank 2 hears %q, %v", said, err)
	}
	<-g.lost
	g.watch.gone(note{Rank: 2, Host: "h", Why: "its process ended"})
	if !strings.Contains(g.Cause().Error(), "rank 1 on h is gone: its encoder died") {
		t.Errorf("the cause is %v", g.Cause())
	}
}
