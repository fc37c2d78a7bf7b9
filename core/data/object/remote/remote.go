// Package remote reads objects of other machines: of web servers and of stores that speak S3. What may pass, such as a server that is
// restarted, is waited for; what may not is an error that says what to do.
package remote

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"tandem/core/clip"
	"tandem/core/fault"
)

// Info describes an object.
type Info struct {
	Size    int64  // in bytes; -1: not known before all of it is read
	Version string // changes with the content; "" when the server tells nothing of the kind
	Ranges  bool   // parts of it can be read
}

// Client reads objects by their addresses.
type Client struct {
	patience *patience
	http     *http.Client
	s3       *s3
}

// Options configures a Client.
type Options struct {
	Patience time.Duration     // how long a server is waited for that does not answer; 0: 5 minutes
	Log      func(text string) // is told when a server is waited for, and when it answers again
}

// idle is how long a server may send nothing before the connection is given up.
var idle = 30 * time.Second

// New returns a Client.
func New(o Options) *Client {
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}
	t := &http.Transport{Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext, MaxIdleConnsPerHost: 32,
		IdleConnTimeout: time.Minute, TLSHandshakeTimeout: 10 * time.Second, ForceAttemptHTTP2: true,
		DisableCompression: true} // places in an object are those of its bytes, packed or not
	p := &patience{limit: cmp.Or(o.Patience, 5*time.Minute), log: o.Log}
	return &Client{patience: p, http: &http.Client{Transport: t}, s3: &s3{transport: t}}
}

// Close ends idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// protocol reads objects of one kind of server. Its methods try once.
type protocol interface {
	stat(ctx context.Context, u *url.URL) (Info, error)
	// read returns a reader of the n bytes at off, or of all when the server gives no parts.
	read(ctx context.Context, u *url.URL, at Info, off, n int64) (io.ReadCloser, error)
}

func (c *Client) protocolOf(u *url.URL) protocol {
	if u.Scheme == "s3" {
		return c.s3
	}
	return web{c.http}
}

// Parse checks an address.
func Parse(name string) (*url.URL, error) {
	scheme, rest, _ := strings.Cut(name, "://")
	if scheme == "s3" { // keys are no paths of URLs: they may hold ? and %
		bucket, key, _ := strings.Cut(rest, "/")
		if bucket == "" || strings.ContainsAny(bucket, "@:") {
			return nil, fault.New(fault.Invalid, "%s names no bucket", name).WithHint("write s3://bucket/key; the server is that of AWS_ENDPOINT_URL")
		}
		return &url.URL{Scheme: scheme, Host: bucket, Path: key}, nil
	}
	u, err := url.Parse(name)
	switch {
	case err == nil && scheme != "http" && scheme != "https":
		f := fault.New(fault.Invalid, "%s:// is not read", fault.PrintableLine(scheme)).WithHint("write a path, or an address that begins with https://, http:// or s3://")
		switch scheme {
		case "gs", "gcs":
			f.WithHint("Google's stores speak S3: set AWS_ENDPOINT_URL=https://storage.googleapis.com and write s3://bucket/key")
		case "file":
			f.WithHint("write the path alone")
		}
		return nil, f
	case err != nil || u.Host == "":
		return nil, fault.New(fault.Invalid, "%q is no address", name)
	case u.User != nil:
		return nil, fault.New(fault.Invalid, "%s holds a password: settings are kept in the database", u.Redacted()).
			WithHint("take it out; a store behind s3:// takes its keys from the environment")
	}
	return u, nil
}

// Display returns the text of an address for people. It leaves out the query, which may be a signature.
func Display(u *url.URL) string {
	if u.Scheme == "s3" {
		return "s3://" + u.Host + "/" + u.Path
	}
	if u.RawQuery == "" {
		return u.String()
	}
	short := *u
	short.RawQuery = ""
	return short.String() + "?…"
}

// Stat describes an object.
func (c *Client) Stat(ctx context.Context, u *url.URL) (at Info, err error) {
	err = c.patience.try(ctx, u, func(ctx context.Context) error {
		at, err = c.protocolOf(u).stat(ctx, u)
		return err
	}, nil)
	return at, err
}

// Read writes the n bytes at off to w: of an object without Ranges all that it has, with off 0 and n -1. An object that is no
// longer that of at yields fault.Conflict. What was written is not fetched again, where the server gives parts.
func (c *Client) Read(ctx context.Context, u *url.URL, at Info, off, n int64, w io.Writer) error {
	var done int64
	err := c.patience.try(ctx, u, func(ctx context.Context) error {
		from, rest := off+done, n-done
		if !at.Ranges {
			from, rest = 0, at.Size
		} else if rest == 0 {
			return nil
		}
		body, err := c.protocolOf(u).read(ctx, u, at, from, rest)
		if err != nil {
			return err
		}
		defer body.Close()
		alive := watch(ctx)
		var in io.Reader = body
		if rest >= 0 {
			in = io.LimitReader(body, rest)
		}
		if !at.Ranges && done > 0 { // from the beginning once more
			if _, err := io.CopyN(io.Discard, alive.of(in), done); err != nil {
				return truncated(err)
			}
		}
		got, err := io.Copy(w, alive.of(in))
		done += got
		if err == nil && rest >= 0 && done != n && (at.Ranges || done != at.Size) {
			err = io.ErrUnexpectedEOF
		}
		return truncated(err)
	}, &done)
	if f, ok := errors.AsType[*fault.Error](err); ok && f.Kind != fault.Canceled {
		f.Reason = clip.ReasonStore
		if f.Kind == fault.Conflict {
			f.Reason = clip.ReasonChanged
		}
	}
	return err
}

func truncated(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// List returns the names that a pattern of an address stands for, sorted.
func (c *Client) List(ctx context.Context, pattern string) (names []string, err error) {
	u, err := Parse(pattern)
	if err != nil {
		return nil, err
	}
	if u.Scheme != "s3" {
		if strings.Contains(u.Path, "*") {
			return nil, fault.New(fault.Invalid, "web servers do not tell what they have: %s cannot be expanded", pattern).
				WithHint("write a range: {000..099}")
		}
		return []string{pattern}, nil
	}
	if !isPattern(u.Path) {
		return []string{pattern}, nil
	}
	err = c.patience.try(ctx, u, func(ctx context.Context) error {
		names, err = c.s3.list(ctx, u)
		return err
	}, nil)
	if err == nil && len(names) == 0 {
		return nil, fault.New(fault.NotFound, "no object matches %s", pattern)
	}
	return names, err
}
