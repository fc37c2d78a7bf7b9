package web

import (
	"bytes"
	"compress/gzip"
	"context"
	"maps"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"tandem/core/fault"
)

// What is kept: answers up to mostAnswer bytes, mostKept bytes of all, for keepFor at most, since pages tell how long ago something was.
const (
	mostAnswer = 4 << 20
	mostKept   = 64 << 20
	keepFor    = 15 * time.Second
)

// cache keeps answers, so that each is made once for each state of the database.
type cache struct {
	mu   sync.Mutex
	kept map[string]*kept // by address
	size int
}

// kept is an answer; done is closed when it is there.
type kept struct {
	done    chan struct{}
	version string
	at      time.Time
	header  http.Header
	body    []byte // nil: it was not kept

	once   sync.Once
	zipped []byte
}

func newCache() *cache { return &cache{kept: map[string]*kept{}} }

// stateKey is the key of the version of the database in a request's context.
type stateKey struct{}

// stateOf returns the version of the database that a request began with.
func stateOf(ctx context.Context) string {
	version, _ := ctx.Value(stateKey{}).(string)
	return version
}

// version names the state of the database: no two are named alike, not even by servers that follow one another.
func (s *Site) version() string {
	return strconv.FormatInt(s.born, 36) + "-" + strconv.FormatInt(s.db.Version(), 36)
}

// once makes answers once for each address and state of the database. Those who ask meanwhile wait.
func (s *Site) once(handle func(http.ResponseWriter, *http.Request) error) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		key := r.URL.EscapedPath() + "?" + r.URL.RawQuery
		k, mine := s.cache.take(key, stateOf(r.Context()))
		if mine {
			return s.cache.make(k, key, w, r, handle)
		}
		select {
		case <-k.done:
		case <-r.Context().Done():
			return fault.New(fault.Canceled, "the answer was waited for: %w", r.Context().Err())
		}
		if k.body == nil { // it failed, or was large
			return handle(w, r)
		}
		k.write(w, r)
		return nil
	}
}

// take returns the answer of an address in a state, and whether the caller is to make it.
func (c *cache) take(key string, version string) (k *kept, mine bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k := c.kept[key]; k != nil && k.version == version && time.Since(k.at) < keepFor {
		return k, false
	}
	k = &kept{done: make(chan struct{}), version: version, at: time.Now()}
	c.put(key, k)
	return k, true
}

// make has an answer made, gives it to who asked, and keeps it.
func (c *cache) make(k *kept, key string, w http.ResponseWriter, r *http.Request, handle func(http.ResponseWriter, *http.Request) error) error {
	b := &buffer{to: w, header: w.Header().Clone()}
	if err := c.fill(k, key, b, r, handle); err != nil {
		return err
	}
	switch {
	case b.through:
	case k.body != nil:
		k.write(w, r)
	default:
		return b.pass()
	}
	return nil
}

// fill lets a handler write to a buffer, keeps what it wrote where that is whole and good, and lets go those who wait for it.
func (c *cache) fill(k *kept, key string, b *buffer, r *http.Request, handle func(http.ResponseWriter, *http.Request) error) error {
	good := false
	defer func() { // a handler that panics lets nobody wait
		c.mu.Lock()
		if c.kept[key] == k {
			if good {
				c.size += len(k.body)
			} else {
				delete(c.kept, key)
			}
		}
		c.mu.Unlock()
		close(k.done)
	}()
	if err := handle(b, r); err != nil {
		return err
	}
	if !b.through && (b.status == 0 || b.status == http.StatusOK) {
		k.header, k.body, good = b.header, b.body.Bytes(), b.body.Len() > 0
	}
	return nil
}

// put keeps an answer in place of the one before, and forgets others when they are too many.
func (c *cache) put(key string, k *kept) {
	c.drop(key)
	for old := range maps.Keys(c.kept) {
		if c.size <= mostKept && len(c.kept) < 1000 {
			break
		}
		c.drop(old)
	}
	c.kept[key] = k
}

func (c *cache) drop(key string) {
	if old := c.kept[key]; old != nil {
		select {
		case <-old.done:
			c.size -= len(old.body)
		default: // it is being made, and counted nowhere
		}
		delete(c.kept, key)
	}
}

// write gives an answer to a client.
func (k *kept) write(w http.ResponseWriter, r *http.Request) {
	maps.Copy(w.Header(), k.header)
	body := k.body
	if compresses(r, k.header, len(body)) {
		k.once.Do(func() { k.zipped = zip(k.body) })
		body = k.zipped
		w.Header().Set("Content-Encoding", "gzip")
		w.Header().Add("Vary", "Accept-Encoding")
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body) // the client may be gone
}

// compresses reports whether an answer is worth compressing: it is text, and goes over a network.
func compresses(r *http.Request, h http.Header, size int) bool {
	if size < 2000 || h.Get("Content-Encoding") != "" || !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		return false
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if ip := net.ParseIP(host); err != nil || ip == nil || ip.IsLoopback() {
		return false
	}
	kind, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	return strings.HasPrefix(kind, "text/") || kind == "application/json" || kind == "image/svg+xml"
}

func zip(data []byte) []byte {
	var b bytes.Buffer
	z, _ := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	_, _ = z.Write(data)
	_ = z.Close()
	return b.Bytes()
}

// buffer holds an answer back until it is whole; a large one goes through.
type buffer struct {
	to      http.ResponseWriter
	header  http.Header
	status  int
	body    bytes.Buffer
	through bool
}

func (b *buffer) Header() http.Header {
	if b.through {
		return b.to.Header()
	}
	return b.header
}

func (b *buffer) WriteHeader(status int) {
	if b.status == 0 {
		b.status = status
	}
}

func (b *buffer) Write(data []byte) (int, error) {
	if b.through {
		return b.to.Write(data)
	}
	n, _ := b.body.Write(data)
	if b.body.Len() > mostAnswer {
		return n, b.pass()
	}
	return n, nil
}

// pass gives what is held back to the client, and lets what follows through.
func (b *buffer) pass() error {
	b.through = true
	maps.Copy(b.to.Header(), b.header)
	if b.status != 0 {
		b.to.WriteHeader(b.status)
	}
	_, err := b.to.Write(b.body.Bytes())
	b.body = bytes.Buffer{}
	return err
}
