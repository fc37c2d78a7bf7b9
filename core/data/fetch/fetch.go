// Package fetch gets pages and pictures of the web as a guest should: it obeys robots.txt and directives against use for AI,
// asks each host slowly, tries again what may pass, bounds what it reads, and reaches no private address unless it is told to.
//
//	f, err := fetch.New(fetch.Options{UserAgent: "tandem-build/1 (+https://example.org/bot)"})
//	r, err := f.Fetch(ctx, "https://example.org/cat.jpg", "image/*")
//
// Its errors are *fault.Error with a Reason of this package. Temporary tells which of them may be gone later.
package fetch

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"tandem/core/fault"
)

// Options configures a Fetcher. A number that is 0 stands for its default.
type Options struct {
	// UserAgent names who asks: a name, a slash, a version, and an address where people can complain. Its part before the
	// slash is looked for in robots.txt.
	UserAgent string
	PerHost   int           // most requests to one host at a time; 2
	Total     int           // most requests at a time; 32
	HostDelay time.Duration // least time between the beginnings of two requests to a host; 0. robots.txt may ask for more
	MaxBytes  int64         // longest body, unpacked; 32 MiB
	Timeout   time.Duration // longest time of one request, with its body; 30 s
	Redirects int           // most redirects of one address; 5; negative: none
	Retries   int           // how often a request is made again that failed for now; 4; negative: never
	Backoff   time.Duration // pause before the first of them; doubles with each; 500 ms
	MaxPause  time.Duration // longest pause that a host may ask for, by Retry-After or a crawl delay; 2 min
	// AllowPrivate permits addresses of this machine and of private networks.
	AllowPrivate bool
	// IgnoreRobots fetches what robots.txt forbids.
	IgnoreRobots bool
	// IgnoreNoAI fetches what its owner reserves by noai, noimageai or tdm-reservation.
	IgnoreNoAI bool
}

// Response holds what an address gave.
type Response struct {
	URL    string // where it lay, behind all redirects
	Status int    // 200 … 299
	Type   string // media type in small letters, without parameters: text/html; found in the body where the header does not tell
	Header http.Header
	Body   []byte
	Rights Rights // what the header reserves. With Options.IgnoreNoAI that may be everything
}

// Fetcher fetches. Its methods may be called from several goroutines.
type Fetcher struct {
	o       Options
	agent   string // for robots.txt
	client  *http.Client
	slots   chan struct{}
	mu      sync.Mutex
	hosts   map[string]*host
	flights map[string]*flight
}

// flight holds a fetch that several callers wait for.
type flight struct {
	done    chan struct{}
	waiting int // callers beside the one who fetches
	r       *Response
	err     error
}

// New returns a Fetcher.
func New(o Options) (*Fetcher, error) {
	if strings.TrimSpace(o.UserAgent) == "" || strings.ContainsAny(o.UserAgent, "\r\n") {
		return nil, fault.New(fault.Invalid, "%q is no user agent", o.UserAgent).
			WithHint(`name yourself and an address for complaints: "my-set/1 (+https://example.org/bot)"`)
	}
	defaults(&o)
	agent, _, _ := strings.Cut(o.UserAgent, "/")
	f := &Fetcher{o: o, agent: strings.TrimSpace(agent), slots: make(chan struct{}, o.Total), hosts: map[string]*host{},
		flights: map[string]*flight{}}
	f.client = &http.Client{Transport: newTransport(o),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }} // see follow
	return f, nil
}

func defaults(o *Options) {
	number := func(n *int, value int) {
		if *n == 0 {
			*n = value
		}
		*n = max(*n, 0)
	}
	number(&o.PerHost, 2)
	number(&o.Total, 32)
	number(&o.Redirects, 5)
	number(&o.Retries, 4)
	o.PerHost, o.Total = max(o.PerHost, 1), max(o.Total, 1)
	if o.MaxBytes <= 0 {
		o.MaxBytes = 32 << 20
	}
	span := func(d *time.Duration, value time.Duration) {
		if *d <= 0 {
			*d = value
		}
	}
	span(&o.Timeout, 30*time.Second)
	span(&o.Backoff, 500*time.Millisecond)
	span(&o.MaxPause, 2*time.Minute)
}

// Close ends idle connections.
func (f *Fetcher) Close() error {
	f.client.CloseIdleConnections()
	return nil
}

// Fetch gets an address. accept lists the media types that are wanted, such as text/html and image/*; none: all. Callers that
// ask for one address at the same time share one request. Where the answer is none, or may not be had, the error is a
// *fault.Error with a reason of this package and the address as its file.
func (f *Fetcher) Fetch(ctx context.Context, address string, accept ...string) (*Response, error) {
	u, err := parse(address)
	if err != nil {
		return nil, err
	}
	key := u.String() + "\n" + strings.Join(accept, "\n")
	for {
		f.mu.Lock()
		other := f.flights[key]
		if other == nil {
			mine := &flight{done: make(chan struct{})}
			f.flights[key] = mine
			f.mu.Unlock()
			mine.r, mine.err = f.follow(ctx, u, accept)
			f.mu.Lock()
			delete(f.flights, key)
			f.mu.Unlock()
			close(mine.done)
			return mine.r, mine.err
		}
		other.waiting++
		f.mu.Unlock()
		select {
		case <-other.done:
		case <-ctx.Done():
			return nil, canceled(ctx, u)
		}
		if fault.KindOf(other.err) != fault.Canceled { // the other caller's context is not ours
			return other.r, other.err
		}
	}
}

// follow fetches an address and what it leads to. Every address on the way is checked as the first is.
func (f *Fetcher) follow(ctx context.Context, u *url.URL, accept []string) (*Response, error) {
	first := u
	for hops := 0; ; hops++ {
		if err := f.permitted(ctx, u); err != nil {
			return nil, err
		}
		r, next, err := f.patiently(ctx, u, wants{accept: accept, limit: f.o.MaxBytes, rules: !f.o.IgnoreNoAI})
		if err != nil || next == "" {
			return r, err
		}
		if hops >= f.o.Redirects {
			return nil, failure(fault.Invalid, TooManyRedirects, first, "more than %d redirects, the last to %s", f.o.Redirects, fault.PrintableLine(next))
		}
		to, err := u.Parse(next)
		if err != nil {
			return nil, failure(fault.Invalid, BadReply, u, "a redirect to %q", next)
		}
		if u, err = parse(to.String()); err != nil {
			return nil, err
		}
	}
}

// parse checks that an address is one of the web. Its fragment goes.
func parse(address string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimSpace(address))
	bad := func(why string) error {
		if len(address) > 200 {
			address = address[:200] + "…"
		}
		return fault.New(fault.Invalid, "%q is not fetched: %s", address, why).WithReason(BadAddress)
	}
	switch {
	case err != nil:
		return nil, bad("it is no address")
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, bad("only http:// and https:// are")
	case u.Hostname() == "":
		return nil, bad("it names no host")
	case u.User != nil:
		return nil, bad("it holds a name or a password")
	}
	u.Host = strings.ToLower(u.Host)
	u.Fragment, u.RawFragment = "", ""
	if u.Path == "" {
		u.Path = "/"
	}
	return u, nil
}
