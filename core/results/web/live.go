package web

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"tandem/core/results/store"
)

// How often the database is looked at while pages are open, and after how long a silent connection is told that it lives.
const (
	lookEvery  = time.Second
	aliveEvery = 20 * time.Second
)

// live tells open pages when the database has changed.
type live struct {
	reader *store.Reader

	mu      sync.Mutex
	viewers map[chan struct{}]bool // each holds one notice at most
	looking bool
}

func newLive(r *store.Reader) *live { return &live{reader: r, viewers: map[chan struct{}]bool{}} }

// ServeHTTP sends "changed" events (text/event-stream) as long as the client listens.
func (l *live) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	out := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream")
	notice := l.join()
	defer l.leave(notice)
	alive := time.NewTicker(aliveEvery)
	defer alive.Stop()
	fmt.Fprint(w, "retry: 2000\n\n")
	for {
		if out.Flush() != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-notice:
			fmt.Fprint(w, "event: changed\ndata: 1\n\n")
		case <-alive.C:
			fmt.Fprint(w, ": alive\n\n")
		}
	}
}

func (l *live) join() chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	notice := make(chan struct{}, 1)
	l.viewers[notice] = true
	if !l.looking {
		l.looking = true
		go l.look()
	}
	return notice
}

func (l *live) leave(notice chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.viewers, notice)
}

// look follows the database until nobody listens.
func (l *live) look() {
	ctx := context.Background()
	watch, err := l.reader.Watch(ctx)
	if err == nil {
		defer watch.Close()
	}
	for {
		time.Sleep(lookEvery)
		changed := false
		if err == nil {
			changed, _ = watch.Changed(ctx)
		}
		l.mu.Lock()
		if len(l.viewers) == 0 {
			l.looking = false
			l.mu.Unlock()
			return
		}
		for notice := range l.viewers {
			if changed {
				select {
				case notice <- struct{}{}:
				default:
				}
			}
		}
		l.mu.Unlock()
	}
}
