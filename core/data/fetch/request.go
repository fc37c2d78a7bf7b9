package fetch

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"tandem/core/data/answer"
	"tandem/core/fault"
)

// wants tells what an answer may be.
type wants struct {
	accept []string // media types; nil: any
	limit  int64    // of the body in bytes
	cut    bool     // a longer body is cut instead of refused
	rules  bool     // what the header reserves is obeyed
}

// patiently asks once and, while what went wrong may pass, again. next is where a redirect leads.
func (f *Fetcher) patiently(ctx context.Context, u *url.URL, w wants) (r *Response, next string, err error) {
	h := f.hostOf(u)
	for try := 0; ; try++ {
		if h.isDown() {
			return nil, "", failure(fault.Unavailable, ServerUnreachable, u, "the host could not be reached %d times in a row", maxUnreachable)
		}
		var pause time.Duration
		r, next, pause, err = f.once(ctx, h, u, w)
		if ctx.Err() != nil && err != nil {
			return nil, "", canceled(ctx, u)
		}
		if pause > 0 && pause <= f.o.MaxPause {
			h.pause(pause)
		}
		if err == nil || !Temporary(err) || try >= f.o.Retries || pause > f.o.MaxPause {
			return r, next, err
		}
		wait := f.o.Backoff << min(try, 10)
		wait = min(wait, f.o.MaxPause)
		wait += time.Duration(rand.Int64N(int64(wait)/2 + 1)) // so that many do not come back at once
		if sleep(ctx, wait) != nil {
			return nil, "", canceled(ctx, u)
		}
	}
}

// once makes one request. pause is what the host asks for before the next.
func (f *Fetcher) once(ctx context.Context, h *host, u *url.URL, w wants) (r *Response, next string, pause time.Duration, err error) {
	leave, err := f.enter(ctx, h)
	if err != nil {
		return nil, "", 0, canceled(ctx, u)
	}
	defer leave()
	ctx, cancel := context.WithTimeout(ctx, f.o.Timeout)
	defer cancel()
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, "", 0, failure(fault.Invalid, BadAddress, u, "%w", err)
	}
	q.Header.Set("User-Agent", f.o.UserAgent)
	q.Header.Set("Accept", strings.Join(append(w.accept[:len(w.accept):len(w.accept)], "*/*;q=0.1"), ", "))
	reply, err := f.client.Do(q)
	if err != nil {
		err := f.explain(ctx, u, err)
		h.note(err.Reason != ServerUnreachable)
		return nil, "", 0, err
	}
	defer reply.Body.Close()
	h.note(true)
	if err := checkStatus(reply, u); err != nil {
		return nil, "", answer.RetryAfter(reply.Header), err
	}
	if reply.StatusCode >= 300 {
		return nil, reply.Header.Get("Location"), 0, nil
	}
	r, err = f.receive(ctx, u, reply, w)
	return r, "", 0, err
}

// checkStatus returns an error unless the answer is what was asked for, or a redirect to it.
func checkStatus(a *http.Response, u *url.URL) error {
	code := a.StatusCode
	fail := func(kind fault.Kind, reason string) error {
		return failure(kind, reason, u, "the server says %s", a.Status)
	}
	switch {
	case code >= 200 && code < 300:
		return nil
	case code == 301 || code == 302 || code == 303 || code == 307 || code == 308:
		if a.Header.Get("Location") != "" {
			return nil
		}
		return failure(fault.Unavailable, BadReply, u, "a redirect to nowhere (%s)", a.Status)
	case code == 404 || code == 410:
		return fail(fault.NotFound, NotFound)
	case code == 401 || code == 403 || code == 451:
		return fail(fault.Unavailable, Forbidden)
	case code == 429:
		return fail(fault.Unavailable, TooManyRequests)
	case code == 408 || code == 425 || code >= 500 && code != 501 && code != 505:
		return fail(fault.Unavailable, ServerError)
	}
	return fail(fault.Unavailable, BadReply)
}

// receive reads the body, once its header says that it is wanted.
func (f *Fetcher) receive(ctx context.Context, u *url.URL, a *http.Response, w wants) (*Response, error) {
	r := &Response{URL: u.String(), Status: a.StatusCode, Header: a.Header, Rights: Directives(a.Header, f.agent)}
	if e := strings.ToLower(a.Header.Get("Content-Encoding")); e != "" && e != "identity" { // gzip was unpacked and is gone
		return nil, failure(fault.Invalid, BadReply, u, "the body is packed as %q, which nobody asked for", e)
	}
	declared, _, err := mime.ParseMediaType(a.Header.Get("Content-Type"))
	if err != nil {
		declared = ""
	}
	vague := declared == "" || declared == "application/octet-stream" || declared == "binary/octet-stream" || declared == "text/plain"
	check := func() error {
		if !matches(r.Type, w.accept) {
			return failure(fault.Invalid, WrongType, u, "it is %s, want %s", r.Type, strings.Join(w.accept, " or "))
		}
		if d := r.Rights.Refuses(strings.HasPrefix(r.Type, "image/")); d != "" && w.rules {
			return failure(fault.Invalid, NoAI, u, "its owner reserves it (%s)", d)
		}
		return nil
	}
	if r.Type = declared; !vague {
		if err := check(); err != nil {
			return nil, err
		}
	}
	if a.ContentLength > w.limit && !w.cut {
		return nil, failure(fault.Exhausted, TooLarge, u, "%d bytes, at most %d are read", a.ContentLength, w.limit)
	}
	var body bytes.Buffer
	if a.ContentLength > 0 {
		body.Grow(int(min(a.ContentLength, w.limit, 1<<20)) + 512)
	}
	n, err := body.ReadFrom(io.LimitReader(a.Body, w.limit+1))
	if err != nil {
		return nil, f.explain(ctx, u, err)
	}
	r.Body = body.Bytes()
	if n > w.limit {
		if !w.cut {
			return nil, failure(fault.Exhausted, TooLarge, u, "more than %d bytes, the most that is read", w.limit)
		}
		r.Body = r.Body[:w.limit]
	}
	if vague {
		found, _, _ := mime.ParseMediaType(http.DetectContentType(r.Body))
		if declared != "text/plain" || !strings.HasPrefix(found, "text/") {
			r.Type = found
		}
		if err := check(); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// matches reports whether a media type is one of those that are wanted.
func matches(kind string, accept []string) bool {
	for _, a := range accept {
		a = strings.ToLower(a)
		if family, ok := strings.CutSuffix(a, "/*"); a == kind || a == "*/*" || ok && strings.HasPrefix(kind, family+"/") {
			return true
		}
	}
	return len(accept) == 0
}

// explain turns an error of the network into one with a reason. ctx is the request's own, with its time limit.
func (f *Fetcher) explain(ctx context.Context, u *url.URL, err error) *fault.Error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err // the address is named once
	}
	fail := func(reason string) *fault.Error { return failure(fault.Unavailable, reason, u, "%w", err) }
	var name *net.DNSError
	var op *net.OpError
	var certificate *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var timeout net.Error
	var packed flate.CorruptInputError
	switch {
	case errors.Is(err, errPrivate):
		return failure(fault.Invalid, PrivateAddress, u, "%s is an address of this machine or of a private network", u.Hostname())
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.EACCES):
		return fail(NoNetwork).WithHint("the network is closed to this process: by the sandbox (plugins.sandbox: strict), or by a firewall")
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return failure(fault.Unavailable, Timeout, u, "no whole answer within %s", f.o.Timeout)
	case errors.As(err, &name) && name.IsNotFound:
		return failure(fault.NotFound, NoHost, u, "there is no host %s", u.Hostname())
	case errors.As(err, &certificate):
		return fail(BadCertificate)
	case errors.As(err, &record), errors.As(err, &packed), errors.Is(err, gzip.ErrHeader), errors.Is(err, gzip.ErrChecksum),
		strings.Contains(err.Error(), "malformed"), strings.Contains(err.Error(), "HTTP response to HTTPS"):
		return fail(BadReply)
	case errors.As(err, &name), errors.As(err, &op) && op.Op == "dial":
		return fail(ServerUnreachable)
	case errors.As(err, &timeout) && timeout.Timeout():
		return fail(Timeout)
	}
	return fail(BrokenConnection)
}
