package fetch

import (
	"context"
	"net/url"
	"sync"
	"time"
)

// A host to which maxUnreachable connections in a row did not come about is left alone for downTime: otherwise each of its
// thousand addresses would be tried to the end.
const (
	maxUnreachable = 10
	downTime       = time.Minute
)

// host holds what is known of one origin: a scheme, a host and a port.
type host struct {
	slots chan struct{} // a token for each request under way

	mu          sync.Mutex
	delay       time.Duration // between the beginnings of two requests
	next        time.Time     // when the next may begin
	unreachable int           // connections in a row that did not come about
	down        time.Time     // until when nothing is tried

	asking chan struct{} // a token for who reads the two below
	robots *robots       // nil: not known
	until  time.Time     // when robots is to be read again
}

// hostOf returns the host of an address.
func (f *Fetcher) hostOf(u *url.URL) *host {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := origin(u)
	h := f.hosts[key]
	if h == nil {
		h = &host{slots: make(chan struct{}, f.o.PerHost), asking: make(chan struct{}, 1), delay: f.o.HostDelay}
		f.hosts[key] = h
	}
	return h
}

func origin(u *url.URL) string { return u.Scheme + "://" + u.Host }

// enter waits until a request to a host may begin. leave ends it.
func (f *Fetcher) enter(ctx context.Context, h *host) (leave func(), err error) {
	if err := put(ctx, h.slots); err != nil {
		return nil, err
	}
	if err := h.pace(ctx); err != nil {
		<-h.slots
		return nil, err
	}
	if err := put(ctx, f.slots); err != nil {
		<-h.slots
		return nil, err
	}
	return func() { <-f.slots; <-h.slots }, nil
}

func put(ctx context.Context, tokens chan struct{}) error {
	select {
	case tokens <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// pace waits until the delay behind the request before has passed, and every pause.
func (h *host) pace(ctx context.Context) error {
	for {
		h.mu.Lock()
		now := time.Now()
		if !now.Before(h.next) {
			h.next = now.Add(h.delay)
			h.mu.Unlock()
			return nil
		}
		wait := h.next.Sub(now)
		h.mu.Unlock()
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// pause lets no request begin for a while.
func (h *host) pause(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if at := time.Now().Add(d); at.After(h.next) {
		h.next = at
	}
}

// slow makes the delay between requests at least d.
func (h *host) slow(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.delay = max(h.delay, d)
}

// note counts connections that did not come about.
func (h *host) note(reached bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if reached {
		h.unreachable = 0
		return
	}
	if h.unreachable++; h.unreachable >= maxUnreachable {
		h.down = time.Now().Add(downTime)
	}
}

func (h *host) isDown() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return time.Now().Before(h.down)
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
