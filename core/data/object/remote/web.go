package remote

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"tandem/core/data/answer"
	"tandem/core/fault"
)

// web reads from servers that speak HTTP.
type web struct{ client *http.Client }

// get asks for bytes from to to, which may be -1 for all. It asks with GET alone, since HEAD is often not allowed, or not signed.
func (w web) get(ctx context.Context, u *url.URL, from, to int64) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, fault.New(fault.Invalid, "%s is no address", Display(u))
	}
	r.Header.Set("User-Agent", "tandem")
	r.Header.Set("Accept-Encoding", "identity")
	if to >= 0 {
		r.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", from, to))
	}
	a, err := w.client.Do(r)
	if err != nil {
		return nil, err
	}
	if a.StatusCode == http.StatusOK || a.StatusCode == http.StatusPartialContent || a.StatusCode == http.StatusRequestedRangeNotSatisfiable {
		return a, nil
	}
	a.Body.Close()
	return nil, later{&status{code: a.StatusCode}, answer.RetryAfter(a.Header)}
}

func (w web) stat(ctx context.Context, u *url.URL) (Info, error) {
	a, err := w.get(ctx, u, 0, 0)
	if err != nil {
		return Info{}, err
	}
	defer a.Body.Close()
	at := Info{Size: a.ContentLength, Version: versionOf(a.Header)}
	switch a.StatusCode {
	case http.StatusPartialContent:
		at.Ranges = true
		if at.Size = wholeSize(a.Header); at.Size < 0 {
			return Info{}, fault.New(fault.Unavailable, "the server does not tell the length of its object").WithFile(Display(u), 0, 0)
		}
	case http.StatusRequestedRangeNotSatisfiable:
		if at.Size = wholeSize(a.Header); at.Size != 0 { // of none there are no first bytes
			return Info{}, fault.New(fault.Unavailable, "the server refuses the first byte").WithFile(Display(u), 0, 0)
		}
	}
	return at, nil
}

func (w web) read(ctx context.Context, u *url.URL, at Info, off, n int64) (io.ReadCloser, error) {
	to := off + n - 1
	if !at.Ranges {
		to = -1
	}
	a, err := w.get(ctx, u, off, to)
	if err != nil {
		return nil, err
	}
	fail := func(err error) (io.ReadCloser, error) {
		a.Body.Close()
		return nil, err
	}
	if v := versionOf(a.Header); v != at.Version {
		return fail(changed(u))
	}
	if !at.Ranges {
		if a.StatusCode != http.StatusOK || at.Size >= 0 && a.ContentLength != at.Size {
			return fail(changed(u))
		}
		return a.Body, nil
	}
	switch a.StatusCode {
	case http.StatusPartialContent:
		if wholeSize(a.Header) != at.Size || !strings.HasPrefix(a.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", off)) {
			return fail(changed(u))
		}
		return a.Body, nil
	case http.StatusOK: // another server behind the same name, which gives no parts
		if a.ContentLength != at.Size {
			return fail(changed(u))
		}
		if _, err := io.CopyN(io.Discard, watch(ctx).of(a.Body), off); err != nil {
			return fail(truncated(err))
		}
		return a.Body, nil
	}
	return fail(changed(u))
}

// versionOf returns the ETag, or else the time of the last change.
func versionOf(h http.Header) string {
	if tag := h.Get("ETag"); tag != "" {
		return tag
	}
	return h.Get("Last-Modified")
}

// wholeSize reads the length of the whole object behind the slash of Content-Range; -1 when it is not told.
func wholeSize(h http.Header) int64 {
	_, text, ok := strings.Cut(h.Get("Content-Range"), "/")
	n, err := strconv.ParseInt(text, 10, 64)
	if !ok || err != nil {
		return -1
	}
	return n
}
