package mpi

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"tandem/core/fault"
)

// Ranks that live say so every beat. What a rank says must arrive at the other machine within deaf, even where its process is
// stopped, since the system acknowledges it. A rank whose connection closes is gone at once. One that is stopped (SIGSTOP, Ctrl-Z, a
// frozen container) is waited for as long as it misses no more than maxMissed beats.
const maxMissed = 60

var (
	beat = time.Second // tests have less time
	deaf = 5 * time.Second
)

// note is what ranks say to each other, a line of JSON.
type note struct {
	Kind string `json:"kind"` // beat; gone: Rank is gone for Why; bye: the sender leaves as all do
	Rank int    `json:"rank,omitempty"`
	Host string `json:"host,omitempty"`
	Why  string `json:"why,omitempty"`
}

// watch has this rank's connections: of rank 0 to all others, of the others to rank 0.
type watch struct {
	g      *group
	host   string
	peers  []*peer
	ending atomic.Bool // this rank leaves
	over   atomic.Bool // a rank is gone
	stop   chan struct{}
	once   sync.Once // closes
}

// peer is a rank at the other end of a connection.
type peer struct {
	rank   int
	host   string
	conn   net.Conn
	write  sync.Mutex
	missed atomic.Int32 // beats since it was heard
	bye    atomic.Bool
}

// begin watches over connections that are made.
func (w *watch) begin() {
	w.stop = make(chan struct{})
	for _, p := range w.peers {
		go w.listen(p)
		go w.speak(p)
	}
}

// maxWhy limits the length of a reason in bytes.
const maxWhy = 16 << 10

// say sends a note; what cannot be sent within deaf is lost.
func (p *peer) say(n note) error {
	if len(n.Why) > maxWhy {
		n.Why = strings.ToValidUTF8(n.Why[:maxWhy], "") + " …"
	}
	line, err := json.Marshal(n)
	if err != nil {
		return err
	}
	p.write.Lock()
	defer p.write.Unlock()
	_ = p.conn.SetWriteDeadline(time.Now().Add(deaf))
	_, err = p.conn.Write(append(line, '\n'))
	return err
}

// speak sends beats and counts those that are missed.
func (w *watch) speak(p *peer) {
	ticks := time.NewTicker(beat)
	defer ticks.Stop()
	for {
		if err := p.say(note{Kind: "beat"}); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				p.conn.Close()
			}
			return // listen notices too, after it has read what the rank said last
		}
		select {
		case <-ticks.C: // counts once after this process was itself stopped
		case <-w.stop:
			return
		}
		if p.missed.Add(1) > maxMissed {
			w.gone(note{Rank: p.rank, Host: p.host, Why: "nothing was heard of it for a minute, though its machine answers: it is stopped"})
			return
		}
	}
}

// listen reads what a rank says.
func (w *watch) listen(p *peer) {
	lines := bufio.NewScanner(p.conn)
	for lines.Scan() {
		var n note
		if json.Unmarshal(lines.Bytes(), &n) != nil {
			continue
		}
		p.missed.Store(0)
		switch n.Kind {
		case "gone":
			w.gone(n)
		case "bye":
			p.bye.Store(true)
		}
	}
	w.closed(p, lines.Err())
}

// closed is called when a connection has ended.
func (w *watch) closed(p *peer, err error) {
	if w.ending.Load() || p.bye.Load() {
		return
	}
	why := "its process ended"
	if err != nil && !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
		why = fmt.Sprintf("its machine does not answer (%v)", err)
	}
	w.gone(note{Rank: p.rank, Host: p.host, Why: why})
}

// tellWait limits how long rank 0 goes on for the others' sake when a rank is gone.
const tellWait = time.Second

// gone is called when a rank is gone; the first one counts. Rank 0 tells the others before it may end itself, as they would take it
// for the one that is at fault.
func (w *watch) gone(n note) {
	if w.over.Swap(true) {
		return
	}
	if w.g.rank == 0 {
		n.Kind = "gone"
		told := make(chan struct{})
		go func() { w.tell(n, n.Rank); close(told) }()
		select {
		case <-told:
		case <-time.After(tellWait):
		}
	}
	w.g.lose(fault.New(fault.Unavailable, "rank %d on %s is gone: %s", n.Rank, n.Host, n.Why).
		WithHint("the same command goes on from the last checkpoint"))
}

// tell sends a note to all ranks at the other end of a connection but one.
func (w *watch) tell(n note, but int) {
	var all sync.WaitGroup
	for _, p := range w.peers {
		if p.rank != but {
			all.Go(func() { _ = p.say(n) })
		}
	}
	all.Wait()
}

// Abort implements collective.Group.
func (g *group) Abort(reason error) {
	w := g.watch
	if w == nil || w.ending.Swap(true) {
		return
	}
	g.lose(fault.New(fault.Unavailable, "this rank, %d, cannot go on: %w", g.rank, reason))
	w.tell(note{Kind: "gone", Rank: g.rank, Host: w.host, Why: reason.Error()}, -1)
}

// Close implements collective.Group. When a rank is lost or Abort was called, it leaves MPI as it is.
func (g *group) Close() error {
	if g.unusable() == nil {
		if err := g.leave(); err != nil {
			return err
		}
	}
	if w := g.watch; w != nil {
		w.ending.Store(true)
		w.once.Do(func() { close(w.stop) })
		for _, p := range w.peers {
			p.conn.Close()
		}
	}
	return nil
}

// leave ends MPI together with all ranks.
func (g *group) leave() error {
	return g.do(context.Background(), func() error {
		if _, err := g.meet(leaves, 0, true, nil); err != nil {
			return err
		}
		g.watch.tell(note{Kind: "bye"}, -1)
		g.watch.ending.Store(true)
		return finish()
	})
}
