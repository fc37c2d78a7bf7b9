package web

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"syscall"
	"time"
)

// How often the database is looked at while pages are open, how far apart open pages are told of changes at least and at most, and after how
// long a silent connection is told that it lives.
const (
	lookEvery  = time.Second
	tellEvery  = 2 * time.Second
	tellAlways = 30 * time.Second
	aliveEvery = 20 * time.Second
)

// live tells open pages when the database has changed.
type live struct {
	site *Site

	mu      sync.Mutex
	viewers map[chan string]bool // each holds one notice at most
	looking bool
}

func newLive(s *Site) *live { return &live{site: s, viewers: map[chan string]bool{}} }

// ServeHTTP sends events (text/event-stream) as long as the client listens: "at" once, with the version of the database, and "changed".
func (l *live) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	out := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream")
	notice := l.join()
	defer l.leave(notice)
	alive := time.NewTicker(aliveEvery)
	defer alive.Stop()
	fmt.Fprintf(w, "retry: 2000\nevent: at\ndata: %s\n\n", l.site.version())
	for {
		if out.Flush() != nil {
			return
		}
		_ = out.SetWriteDeadline(time.Now().Add(2 * aliveEvery)) // a client that takes nothing is left
		select {
		case <-r.Context().Done():
			return
		case version := <-notice:
			fmt.Fprintf(w, "event: changed\ndata: %s\n\n", version)
		case <-alive.C:
			fmt.Fprint(w, ": alive\n\n")
		}
	}
}

func (l *live) join() chan string {
	l.mu.Lock()
	defer l.mu.Unlock()
	notice := make(chan string, 1)
	l.viewers[notice] = true
	if !l.looking {
		l.looking = true
		go l.look()
	}
	return notice
}

func (l *live) leave(notice chan string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.viewers, notice)
}

// look follows the database until nobody listens.
func (l *live) look() {
	ctx := context.Background()
	told, last, spent := l.site.version(), time.Now(), cpuTime()
	for {
		time.Sleep(lookEvery)
		l.site.db.MarkDead(ctx)
		now := l.site.version()
		since := time.Since(last)
		tell := now != told && l.isAffordable(cpuTime()-spent, since) || since >= tellAlways
		l.mu.Lock()
		if len(l.viewers) == 0 {
			l.looking = false
			l.mu.Unlock()
			return
		}
		if tell {
			for notice := range l.viewers {
				select {
				case notice <- now:
				default:
				}
			}
		}
		l.mu.Unlock()
		if tell {
			told, last, spent = now, time.Now(), cpuTime()
		}
	}
}

// isAffordable reports whether open pages may be told of a change, by the CPU time that the last round took and how long ago it began.
func (l *live) isAffordable(cpu, since time.Duration) bool {
	share := l.site.Share
	return since >= tellEvery && (share <= 0 || cpu.Seconds() <= share*since.Seconds())
}

// cpuTime returns the CPU time that the process has used.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
