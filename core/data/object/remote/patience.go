package remote

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"time"

	"tandem/core/fault"
)

// Pauses between two tries: the first, and the longest.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = 5 * time.Second
	sayAfter   = 2 * time.Second // shorter waits are not told
)

// patience tries again what may pass.
type patience struct {
	limit time.Duration
	log   func(string)

	mu      sync.Mutex
	reached bool      // some server has answered
	said    bool      // that it is waited
	since   time.Time // when the waiting began that was told
}

// later asks for a pause before the next try.
type later struct {
	error
	pause time.Duration
}

func (l later) Unwrap() error { return l.error }

// try calls f until it succeeds, fails for good, or has failed for longer than the limit without any progress. progress counts
// what f has done so far; nil when it does all or nothing.
func (p *patience) try(ctx context.Context, u *url.URL, f func(context.Context) error, progress *int64) error {
	var before int64
	began, pause := time.Now(), firstPause
	for {
		err := attempt(ctx, f)
		if ctx.Err() != nil && err != nil {
			return fault.New(fault.Canceled, "%w", context.Cause(ctx)).WithFile(Display(u), 0, 0)
		}
		if err == nil {
			p.answered(u)
			return nil
		}
		if progress != nil && *progress > before {
			before, began, pause = *progress, time.Now(), firstPause
		}
		p.mu.Lock()
		reached := p.reached
		p.mu.Unlock()
		mayPass, explained := explain(u, err, reached)
		if !mayPass {
			return explained
		}
		// An address of a server that never answered may be wrong.
		limit := p.limit
		if !reached {
			limit /= 5
		}
		waited := time.Since(began)
		if waited >= limit {
			explained.Msg += fmt.Sprintf("; it was tried for %s", span(waited))
			return explained.WithHint("look whether the server runs and the network works, then resume the run; patience in the dataset's with block says how long it is waited for")
		}
		wait := min(pause/2+rand.N(pause), limit-waited)
		if l, ok := errors.AsType[later](err); ok && l.pause > wait {
			wait = min(l.pause, max(limit-waited, firstPause))
		}
		pause = min(2*pause, lastPause)
		if waited+wait > sayAfter {
			p.say(u, explained, limit)
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// attempt calls f with a context that ends when nothing was read for a while (watch).
func attempt(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	w := &watcher{timer: time.AfterFunc(idle, func() { cancel(errIdle) })}
	defer w.timer.Stop()
	defer cancel(nil)
	err := f(context.WithValue(ctx, watcherKey{}, w))
	if err != nil && context.Cause(ctx) == errIdle {
		return errIdle
	}
	return err
}

var errIdle = fmt.Errorf("nothing was sent for %s", idle)

// watcher sees to it that something is read from time to time.
type watcher struct{ timer *time.Timer }

type watcherKey struct{}

// watch returns the watcher of an attempt.
func watch(ctx context.Context) *watcher { return ctx.Value(watcherKey{}).(*watcher) }

// of returns a reader that tells the watcher what is read.
func (w *watcher) of(r io.Reader) io.Reader { return &watched{r, w} }

type watched struct {
	io.Reader
	w *watcher
}

func (r *watched) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if n > 0 {
		r.w.timer.Reset(idle)
	}
	return n, err
}

// say tells once that a server is waited for.
func (p *patience) say(u *url.URL, err error, limit time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.said || p.log == nil {
		return
	}
	p.said, p.since = true, time.Now()
	p.log(fmt.Sprintf("waiting up to %s for %v", span(limit), err))
}

// answered notes that a server answers.
func (p *patience) answered(u *url.URL) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reached = true
	if p.said {
		p.said = false
		p.log(fmt.Sprintf("%s: the server answers again, after %s", Display(u), span(time.Since(p.since))))
	}
}

// explain turns an error into one for people, and tells whether it may pass.
func explain(u *url.URL, err error, reached bool) (mayPass bool, explained *fault.Error) {
	if s, ok := errors.AsType[*status](err); ok {
		return s.explain(u)
	}
	if f, ok := errors.AsType[*fault.Error](err); ok {
		if f.File == "" {
			f.File = Display(u)
		}
		return false, f
	}
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err // which names the address, with its query
	}
	fail := func(kind fault.Kind) *fault.Error { return fault.New(kind, "%w", err).WithFile(Display(u), 0, 0) }
	_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
	_, noTLS := errors.AsType[tls.RecordHeaderError](err)
	name, noName := errors.AsType[*net.DNSError](err)
	switch {
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.EACCES), noName && deniedName(name):
		return false, fail(fault.Unavailable).WithHint("the network is closed to this process: datasets in the sandbox (plugins.sandbox: strict) read files alone. Copy the data here, or set plugins.sandbox to off")
	case untrusted:
		return false, fail(fault.Unavailable).WithHint("SSL_CERT_FILE names the certificates that are trusted beside the system's")
	case noTLS, strings.Contains(err.Error(), "HTTP response to HTTPS"):
		return false, fail(fault.Unavailable).WithHint("the server does not speak https: write http://")
	case noName && name.IsNotFound && !reached:
		return false, fault.New(fault.NotFound, "there is no host %s", name.Name).WithFile(Display(u), 0, 0).
			WithHint("for s3://, AWS_ENDPOINT_URL names the server and AWS_REGION its region")
	}
	return true, fail(fault.Unavailable)
}

// span returns a time for people: 5 min, 90 s.
func span(d time.Duration) string {
	if d = d.Round(time.Second); d >= time.Minute && d%time.Minute == 0 {
		return fmt.Sprintf("%d min", d/time.Minute)
	}
	return fmt.Sprintf("%d s", d/time.Second)
}

// deniedName reports whether a name was not resolved because no socket could be made, which the error tells in words alone.
func deniedName(err *net.DNSError) bool {
	return strings.Contains(err.Err, "not permitted") || strings.Contains(err.Err, "permission denied")
}
