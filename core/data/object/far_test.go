package object

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tandem/core/fault"
)

// bulk returns n bytes that differ from place to place.
func bulk(n int) []byte {
	data := make([]byte, n)
	rand.NewChaCha8(sha256.Sum256([]byte("bulk"))).Read(data)
	return data
}

// server gives one object, with parts, and counts the bytes of bodies. before may answer in its place.
type server struct {
	*httptest.Server
	data   []byte
	tag    atomic.Value // string
	given  atomic.Int64
	asked  atomic.Int64
	before func(n int64, w http.ResponseWriter, r *http.Request) bool
}

func serve(t *testing.T, data []byte) *server {
	t.Helper()
	s := &server{data: data}
	s.tag.Store(`"one"`)
	s.Server = httptest.NewUnstartedServer(s)
	s.Server.Config.ErrorLog = nil
	s.Start()
	t.Cleanup(s.Close)
	return s
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := s.asked.Add(1)
	if s.before != nil && s.before(n, w, r) {
		return
	}
	if tag := s.tag.Load().(string); tag != "" {
		w.Header().Set("ETag", tag)
	}
	http.ServeContent(&counting{w, &s.given}, r, "", time.Time{}, bytes.NewReader(s.data))
}

type counting struct {
	http.ResponseWriter
	n *atomic.Int64
}

func (c *counting) Write(p []byte) (int, error) {
	c.n.Add(int64(len(p)))
	return c.ResponseWriter.Write(p)
}

func store(t *testing.T, o Options) *Store {
	t.Helper()
	s, err := New(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func openAt(t *testing.T, s *Store, name string) Object {
	t.Helper()
	o, err := s.Open(context.Background(), name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { o.Close() })
	return o
}

// readAll reads an object in pieces from several goroutines and compares it.
func readAll(t *testing.T, o Object, want []byte) {
	t.Helper()
	if o.Size() != int64(len(want)) {
		t.Fatalf("%d bytes, want %d", o.Size(), len(want))
	}
	const piece = 1<<20 + 7
	var wg sync.WaitGroup
	var next atomic.Int64
	for range 3 {
		wg.Go(func() {
			got := make([]byte, piece)
			for {
				at := (next.Add(1) - 1) * piece
				if at >= int64(len(want)) {
					return
				}
				end := min(at+piece, int64(len(want)))
				if n, err := o.ReadAt(got[:end-at], at); err != nil || !bytes.Equal(got[:n], want[at:end]) {
					t.Errorf("%d bytes at %d: %v", n, at, err)
				}
			}
		})
	}
	wg.Wait()
	if n, err := o.ReadAt(make([]byte, 10), max(0, int64(len(want))-4)); n != min(4, len(want)) || err != io.EOF {
		t.Errorf("at the end: %d, %v", n, err)
	}
}

func TestAnObjectIsReadFromTheWebOnce(t *testing.T) {
	data := bulk(5*blockBytes + 12345)
	web := serve(t, data)
	dir := t.TempDir()
	cold := store(t, Options{CacheDir: dir, CacheBytes: 1 << 30})
	readAll(t, openAt(t, cold, web.URL+"/a.tar"), data)
	if n := cold.Fetched(); n != int64(len(data)) {
		t.Errorf("%d bytes were fetched, want %d", n, len(data))
	}
	web.given.Store(0)
	warm := store(t, Options{CacheDir: dir, CacheBytes: 1 << 30})
	readAll(t, openAt(t, warm, web.URL+"/a.tar"), data)
	if warm.Fetched() != 0 || web.given.Load() > 10 {
		t.Errorf("with a warm cache %d bytes were fetched, %d given", warm.Fetched(), web.given.Load())
	}
	web.tag.Store(`"two"`) // another object, for those who open it now
	other := store(t, Options{CacheDir: dir, CacheBytes: 1 << 30})
	if o := openAt(t, other, web.URL+"/a.tar"); o.Version() != `"two"` {
		t.Errorf("version %s", o.Version())
	} else if _, err := o.ReadAt(make([]byte, 10), 0); err != nil || other.Fetched() != blockBytes {
		t.Errorf("%d bytes, %v", other.Fetched(), err)
	}
}

func TestWithoutACacheFolderAnObjectIsReadAllTheSame(t *testing.T) {
	data := bulk(2*blockBytes + 1)
	web := serve(t, data)
	readAll(t, openAt(t, store(t, Options{}), web.URL), data)
	web.data = nil
	readAll(t, openAt(t, store(t, Options{}), web.URL+"/empty"), nil)
}

func TestAServerWithoutPartsGivesTheWholeObject(t *testing.T) {
	data := bulk(3 << 20)
	for _, told := range []bool{true, false} {
		web := serve(t, data)
		web.before = func(n int64, w http.ResponseWriter, r *http.Request) bool {
			if told {
				w.Header().Set("Content-Length", strconv.Itoa(len(data)))
				w.Header().Set("Last-Modified", time.Unix(1e9, 0).UTC().Format(http.TimeFormat))
			}
			if n == 3 { // in the middle of the first body
				w.Write(data[:len(data)/2])
				panic(http.ErrAbortHandler)
			}
			w.Write(data)
			return true
		}
		for _, dir := range []string{t.TempDir(), ""} {
			s := store(t, Options{CacheDir: dir, CacheBytes: 1 << 30})
			o := openAt(t, s, web.URL)
			readAll(t, o, data)
			if n := s.Fetched(); n > int64(len(data))*3/2 {
				t.Errorf("%d bytes were fetched", n)
			}
			if want := "Sun, 09 Sep 2001 01:46:40 GMT"; told && o.Version() != want || !told && o.Version() != "3145728 bytes" {
				t.Errorf("version %s", o.Version())
			}
		}
	}
}

func TestWhatMayPassIsTriedAgain(t *testing.T) {
	data := bulk(2*blockBytes + 1)
	web := serve(t, data)
	web.before = func(n int64, w http.ResponseWriter, r *http.Request) bool {
		switch n % 5 {
		case 1:
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(http.StatusTooManyRequests)
		case 2:
			w.WriteHeader(http.StatusServiceUnavailable)
		case 3:
			panic(http.ErrAbortHandler)
		case 4: // half a body
			if from, _, ok := strings.Cut(strings.TrimPrefix(r.Header.Get("Range"), "bytes="), "-"); ok && from != "0" {
				at, _ := strconv.Atoi(from)
				w.Header().Set("ETag", `"one"`)
				w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", at, len(data)-1, len(data)))
				w.WriteHeader(http.StatusPartialContent)
				w.Write(data[at : at+(len(data)-at)/2])
				panic(http.ErrAbortHandler)
			}
			w.WriteHeader(http.StatusBadGateway)
		default:
			return false
		}
		return true
	}
	readAll(t, openAt(t, store(t, Options{}), web.URL), data)
}

// The server is killed and comes back at the same address a second later.
func TestAServerThatIsAwayForAWhileIsWaitedFor(t *testing.T) {
	data := bulk(4 * blockBytes)
	web := serve(t, data)
	address := web.Listener.Addr().String()
	o := openAt(t, store(t, Options{}), web.URL)
	piece := make([]byte, 1000)
	if _, err := o.ReadAt(piece, 0); err != nil {
		t.Fatal(err)
	}
	web.CloseClientConnections()
	web.Listener.Close()
	back := make(chan *http.Server)
	time.AfterFunc(time.Second, func() {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Error(err)
		}
		again := &http.Server{Handler: web}
		go again.Serve(l)
		back <- again
	})
	if _, err := o.ReadAt(piece, 3*blockBytes); err != nil || !bytes.Equal(piece, data[3*blockBytes:][:1000]) {
		t.Errorf("%v", err)
	}
	(<-back).Close()
}

func TestWhatDoesNotPassIsToldAtOnce(t *testing.T) {
	web := serve(t, bulk(100))
	web.before = func(_ int64, w http.ResponseWriter, r *http.Request) bool {
		code, err := strconv.Atoi(strings.Trim(r.URL.Path, "/"))
		if err == nil {
			w.WriteHeader(code)
		}
		return err == nil
	}
	s := store(t, Options{})
	for name, want := range map[string]struct {
		kind fault.Kind
		text string
	}{
		web.URL + "/404?sig=geheim":      {fault.NotFound, "404 Not Found"},
		web.URL + "/403?sig=geheim":      {fault.Unavailable, "403 Forbidden"},
		web.URL + "/501":                 {fault.Unavailable, "501"},
		"http://nowhere.invalid/x":       {fault.NotFound, "no host nowhere.invalid"},
		"ftp://h/x":                      {fault.Invalid, "ftp:// is not read"},
		"gs://bucket/x":                  {fault.Invalid, "gs:// is not read"},
		"https://me:geheim@example.org/": {fault.Invalid, "holds a password"},
		"https:///x":                     {fault.Invalid, "no address"},
		"s3:///x":                        {fault.Invalid, "names no bucket"},
		"https" + web.URL[4:]:            {fault.Unavailable, "HTTP response to HTTPS"},
	} {
		began := time.Now()
		_, err := s.Open(context.Background(), name)
		if fault.KindOf(err) != want.kind || !strings.Contains(fmt.Sprint(err), want.text) || strings.Contains(fault.Format(err), "geheim") {
			t.Errorf("%s: %s", name, fault.Format(err))
		}
		if f, ok := errors.AsType[*fault.Error](err); ok && f.Hint == "" && want.text != "501" && want.text != "no address" {
			t.Errorf("%s: no hint: %v", name, err)
		}
		if time.Since(began) > 30*time.Second {
			t.Errorf("%s took %s", name, time.Since(began))
		}
	}
	if n := web.asked.Load(); n != 3 {
		t.Errorf("%d requests, want one for each status", n)
	}
}

func TestPatienceEnds(t *testing.T) {
	web := serve(t, bulk(100))
	web.before = func(n int64, w http.ResponseWriter, _ *http.Request) bool {
		if n > 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		return n > 1
	}
	o := openAt(t, store(t, Options{Patience: 300 * time.Millisecond}), web.URL)
	_, err := o.ReadAt(make([]byte, 10), 0)
	if fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "503") || !strings.Contains(err.Error(), "it was tried for") {
		t.Errorf("%v", err)
	}
}

func TestAnObjectThatChangesIsAConflict(t *testing.T) {
	for _, header := range []string{"tag", "length", "none"} {
		data := bulk(3 * blockBytes)
		web := serve(t, data)
		if header == "none" {
			web.tag.Store("")
		}
		o := openAt(t, store(t, Options{CacheDir: t.TempDir(), CacheBytes: 1 << 30}), web.URL)
		if _, err := o.ReadAt(make([]byte, 10), 0); err != nil {
			t.Fatal(err)
		}
		if header == "tag" {
			web.tag.Store(`"two"`)
		} else {
			web.data = data[:2*blockBytes+1]
		}
		_, err := o.ReadAt(make([]byte, 10), blockBytes)
		if fault.KindOf(err) != fault.Conflict || !strings.Contains(err.Error(), web.URL) {
			t.Errorf("%s: %v", header, err)
		}
	}
}

func TestReadingEndsWithItsContextAndWithTheStore(t *testing.T) {
	web := serve(t, bulk(100))
	web.before = func(n int64, w http.ResponseWriter, r *http.Request) bool {
		if n > 1 {
			<-r.Context().Done()
		}
		return n > 1
	}
	s := store(t, Options{})
	o := openAt(t, s, web.URL)
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(20*time.Millisecond, cancel)
	if _, err := ReadAt(ctx, o, make([]byte, 10), 0); fault.KindOf(err) != fault.Canceled {
		t.Errorf("%v", err)
	}
	if _, err := s.Open(ctx, web.URL+"/other"); fault.KindOf(err) != fault.Canceled {
		t.Errorf("%v", err)
	}
	time.AfterFunc(20*time.Millisecond, func() { s.Close() })
	if _, err := o.ReadAt(make([]byte, 10), 0); fault.KindOf(err) != fault.Canceled {
		t.Errorf("%v", err)
	}
	if _, err := o.ReadAt(make([]byte, 10), 0); fault.KindOf(err) != fault.Canceled {
		t.Errorf("closed: %v", err)
	}
}

func TestNamesOfTheWebHaveRangesAlone(t *testing.T) {
	s := store(t, Options{})
	got, err := s.List(context.Background(), "https://h/a-{00..02}.tar?x=[1]")
	want := []string{"https://h/a-00.tar?x=[1]", "https://h/a-01.tar?x=[1]", "https://h/a-02.tar?x=[1]"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := s.List(context.Background(), "https://h/*.tar"); fault.KindOf(err) != fault.Invalid {
		t.Errorf("%v", err)
	}
}
