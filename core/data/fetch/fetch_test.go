package fetch

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"hash/fnv"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tandem/core/fault"
)

// site serves pages by their path; what is not in it is not found.
func site(t *testing.T, pages map[string]http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h := pages[r.URL.Path]; h != nil {
			h(w, r)
			return
		}
		http.NotFound(w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func text(body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		io.WriteString(w, body)
	}
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

func fetcher(t *testing.T, o Options) *Fetcher {
	t.Helper()
	o.UserAgent, o.AllowPrivate, o.Backoff = "tandem-test/1 (+https://example.org)", true, time.Millisecond
	f, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// expect fetches and compares the reason, and whether it is temporary.
func expect(t *testing.T, f *Fetcher, address, reason string, temporary bool, accept ...string) error {
	t.Helper()
	r, err := f.Fetch(context.Background(), address, accept...)
	if err == nil {
		t.Errorf("%s was fetched: %.60q; want %q", address, r.Body, reason)
		return nil
	}
	if got := fault.ReasonOf(err); got != reason || Temporary(err) != temporary {
		t.Errorf("%s: reason %q, temporary %v, want %q, %v: %v", address, got, Temporary(err), reason, temporary, err)
	}
	return err
}

func TestAPageIsFetchedBehindItsRedirects(t *testing.T) {
	at := site(t, map[string]http.HandlerFunc{
		"/a":    func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/b?x=1", http.StatusFound) },
		"/b":    text("hello", "Content-Type", "text/HTML; charset=utf-8"),
		"/loop": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/loop", http.StatusFound) },
		"/file": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
		},
		"/none": status(http.StatusFound),
	})
	f := fetcher(t, Options{Retries: -1})
	r, err := f.Fetch(context.Background(), at+"/a#part", "text/html")
	if err != nil || string(r.Body) != "hello" || r.URL != at+"/b?x=1" || r.Type != "text/html" || r.Status != 200 {
		t.Fatalf("%+v, %v", r, err)
	}
	expect(t, f, at+"/loop", TooManyRedirects, false)
	expect(t, f, at+"/file", BadAddress, false)
	expect(t, f, at+"/none", BadReply, false)
	expect(t, f, "ftp://example.org/x", BadAddress, false)
	expect(t, f, "http://me:secret@example.org/x", BadAddress, false)
	expect(t, f, "no address", BadAddress, false)
}

func TestTheTypeIsCheckedBeforeTheBodyIsRead(t *testing.T) {
	png := "\x89PNG\r\n\x1a\n0000"
	at := site(t, map[string]http.HandlerFunc{
		"/page":  text("<html>"),
		"/vague": text(png, "Content-Type", "application/octet-stream"),
		"/plain": text("plain <b>words</b>", "Content-Type", "text/plain"),
	})
	f := fetcher(t, Options{})
	expect(t, f, at+"/page", WrongType, false, "image/*")
	expect(t, f, at+"/vague", WrongType, false, "text/html", "image/jpeg")
	for path, want := range map[string]string{"/vague": "image/png", "/plain": "text/plain"} {
		if r, err := f.Fetch(context.Background(), at+path, "image/*", "text/plain"); err != nil || r.Type != want {
			t.Errorf("%s: %+v, %v", path, r, err)
		}
	}
}

func TestBodiesAreBoundedPackedOrNot(t *testing.T) {
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	z.Write(make([]byte, 10<<20))
	z.Close()
	sent := atomic.Int64{}
	at := site(t, map[string]http.HandlerFunc{
		"/declared": text(strings.Repeat("x", 2000)),
		"/bomb":     text(bomb.String(), "Content-Encoding", "gzip"),
		"/packed":   text("???", "Content-Encoding", "br"),
		"/broken":   text("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x00garbage", "Content-Encoding", "gzip"),
		"/endless": func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				n, err := w.Write(make([]byte, 1000))
				if sent.Add(int64(n)); err != nil {
					return
				}
			}
		},
		"/fits": text(strings.Repeat("x", 1000)),
	})
	f := fetcher(t, Options{MaxBytes: 1000})
	for _, path := range []string{"/declared", "/bomb", "/endless"} {
		expect(t, f, at+path, TooLarge, false)
	}
	if n := sent.Load(); n > 64<<20 {
		t.Errorf("%d bytes of an endless body were taken", n)
	}
	expect(t, f, at+"/packed", BadReply, false)
	expect(t, f, at+"/broken", BadReply, false)
	if r, err := f.Fetch(context.Background(), at+"/fits"); err != nil || len(r.Body) != 1000 {
		t.Errorf("%v", err)
	}
}

func TestPrivateAddressesAreRefusedWhateverNamesThem(t *testing.T) {
	asked := atomic.Int64{}
	at := site(t, map[string]http.HandlerFunc{"/": func(http.ResponseWriter, *http.Request) { asked.Add(1) },
		"/robots.txt": func(http.ResponseWriter, *http.Request) { asked.Add(1) }})
	f, err := New(Options{UserAgent: "tandem-test/1", Retries: -1})
	if err != nil {
		t.Fatal(err)
	}
	port := at[strings.LastIndex(at, ":"):]
	for _, host := range []string{"127.0.0.1", "localhost", "2130706433", "[::ffff:127.0.0.1]", "0.0.0.0", "[::1]"} {
		_, err := f.Fetch(context.Background(), "http://"+host+port+"/")
		if reason := fault.ReasonOf(err); reason != PrivateAddress && reason != NoHost {
			t.Errorf("%s: %v", host, err)
		}
	}
	if asked.Load() != 0 {
		t.Error("the server was asked")
	}
	for text, want := range map[string]bool{
		"10.1.2.3": false, "172.20.0.1": false, "192.168.1.1": false, "169.254.169.254": false, "100.64.0.1": false,
		"224.0.0.1": false, "255.255.255.255": false, "fe80::1": false, "fd00::1": false, "::ffff:10.0.0.1": false,
		"64:ff9b::a9fe:a9fe": false, "2002:7f00:1::": false, "::7f00:1": false,
		"1.1.1.1": true, "93.184.216.34": true, "2606:4700::1111": true, "64:ff9b::101:101": true,
	} {
		if got := isPublic(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s is public: %v", text, got)
		}
	}
}

// The second address is looked up when the redirect is followed, and refused then.
func TestARedirectToAPrivateAddressIsRefused(t *testing.T) {
	f := fetcher(t, Options{IgnoreRobots: true, IgnoreNoAI: true, Retries: -1})
	inner := site(t, map[string]http.HandlerFunc{"/": text("secret")})
	outer := site(t, map[string]http.HandlerFunc{"/": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, inner, http.StatusFound) }})
	allowed := outer[strings.LastIndex(outer, "/")+1:]
	d := &net.Dialer{ControlContext: nil}
	d.Control = refusePrivate
	direct := f.client.Transport.(*transport).direct
	direct.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		if address == allowed { // stands for a public host
			return (&net.Dialer{}).DialContext(ctx, network, address)
		}
		return d.DialContext(ctx, network, address)
	}
	expect(t, f, outer, PrivateAddress, false)
}

func TestRobotsAreObeyed(t *testing.T) {
	asked := atomic.Int64{}
	at := site(t, map[string]http.HandlerFunc{
		"/robots.txt": func(w http.ResponseWriter, r *http.Request) {
			asked.Add(1)
			io.WriteString(w, "\ufeffUser-agent: other\nDisallow: /\n\nnonsense\nCrawl-delay: soon\nUser-agent: Tandem-Test\nDisallow: /private\nAllow: /private/open$\n")
		},
		"/public": text("a"), "/private": text("b"), "/private/open": text("c"),
		"/hop": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/private", http.StatusFound) },
	})
	f := fetcher(t, Options{})
	for _, path := range []string{"/public", "/private/open"} {
		if _, err := f.Fetch(context.Background(), at+path); err != nil {
			t.Error(err)
		}
	}
	expect(t, f, at+"/private/x", RefusedByRobots, false)
	expect(t, f, at+"/hop", RefusedByRobots, false)
	if asked.Load() != 1 {
		t.Errorf("robots.txt was read %d times", asked.Load())
	}
	if _, err := fetcher(t, Options{IgnoreRobots: true}).Fetch(context.Background(), at+"/private"); err != nil {
		t.Error(err)
	}

	away := site(t, map[string]http.HandlerFunc{"/robots.txt": status(500), "/x": text("x")})
	expect(t, f, away+"/x", NoRobots, true)
	slow := site(t, map[string]http.HandlerFunc{"/robots.txt": text("User-agent: *\nCrawl-delay: 1000"), "/x": text("x")})
	expect(t, f, slow+"/x", RefusedByRobots, false)
}

func TestACrawlDelayLiesBetweenTheRequests(t *testing.T) {
	var mu sync.Mutex
	var times []time.Time
	at := site(t, map[string]http.HandlerFunc{"/robots.txt": text("User-agent: *\nCrawl-delay: 0.05"), "/x": func(http.ResponseWriter, *http.Request) {
		mu.Lock()
		times = append(times, time.Now())
		mu.Unlock()
	}})
	f := fetcher(t, Options{PerHost: 4})
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			if _, err := f.Fetch(context.Background(), fmt.Sprintf("%s/x?%d", at, i)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	slices.SortFunc(times, time.Time.Compare)
	if all := times[3].Sub(times[0]); all < 100*time.Millisecond { // 150 less what the network adds to the first
		t.Errorf("four requests within %s", all)
	}
}

func TestWhatAnOwnerReservesIsNotFetched(t *testing.T) {
	at := site(t, map[string]http.HandlerFunc{
		"/noai":     text("x", "X-Robots-Tag", "noindex, noai"),
		"/other":    text("x", "X-Robots-Tag", "otherbot: noai"),
		"/ours":     text("x", "X-Robots-Tag", "tandem-test: NoAI"),
		"/pictures": text("x", "X-Robots-Tag", "noimageai"),
		"/picture":  text("x", "X-Robots-Tag", "noimageai", "Content-Type", "image/png"),
		"/tdm":      text("x", "TDM-Reservation", "1", "TDM-Policy", "https://example.org/licence"),
		"/open":     text("x", "TDM-Reservation", "0"),
		"/art/cat":  text("x"), "/art/free/cat": text("x"),
		"/.well-known/tdmrep.json": text(`[{"location": "/art/free/*", "tdm-reservation": 0}, {"location": "/art/*", "tdm-reservation": 1}]`),
	})
	f := fetcher(t, Options{})
	for _, path := range []string{"/noai", "/ours", "/picture", "/tdm", "/art/cat"} {
		expect(t, f, at+path, NoAI, false)
	}
	for _, path := range []string{"/other", "/open", "/art/free/cat", "/pictures"} {
		if r, err := f.Fetch(context.Background(), at+path); err != nil || path == "/pictures" && r.Rights.Refuses(true) != "noimageai" {
			t.Errorf("%s: %v", path, err)
		}
	}
	r, err := fetcher(t, Options{IgnoreNoAI: true}).Fetch(context.Background(), at+"/tdm")
	if err != nil || !r.Rights.Reserved || r.Rights.Policy != "https://example.org/licence" {
		t.Errorf("%+v, %v", r, err)
	}
	if got := (Rights{}).With("NOAI, noimageai"); !got.NoAI || !got.NoImageAI {
		t.Errorf("%+v", got)
	}
}

func TestAnswersOfNoUseHaveReasons(t *testing.T) {
	at := site(t, map[string]http.HandlerFunc{
		"/403": status(403), "/410": status(410), "/429": status(429), "/503": status(503), "/501": status(501),
		"/later": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "86400")
			w.WriteHeader(503)
		},
		"/slow": func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	})
	f := fetcher(t, Options{Retries: 1, Timeout: 200 * time.Millisecond})
	expect(t, f, at+"/403", Forbidden, false)
	expect(t, f, at+"/404", NotFound, false)
	expect(t, f, at+"/410", NotFound, false)
	expect(t, f, at+"/501", BadReply, false)
	expect(t, f, at+"/429", TooManyRequests, true)
	expect(t, f, at+"/503", ServerError, true)
	expect(t, f, at+"/later", ServerError, true)
	expect(t, f, at+"/slow", Timeout, true)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	f = fetcher(t, Options{IgnoreRobots: true, IgnoreNoAI: true, Retries: 3})
	expect(t, f, "http://"+closed.Addr().String(), ServerUnreachable, true)
	expect(t, f, "http://nowhere.invalid/", NoHost, false)
}

func TestAFetchEndsWithItsContext(t *testing.T) {
	at := site(t, map[string]http.HandlerFunc{"/slow": func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }})
	f := fetcher(t, Options{})
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(50*time.Millisecond, cancel)
	if _, err := f.Fetch(ctx, at+"/slow"); fault.KindOf(err) != fault.Canceled {
		t.Errorf("%v", err)
	}
}

// Every page that can be had is had, and none of them twice, from a server that fails a fifth of its requests: by a status, by
// closing the connection, in the middle of a body and by silence.
func TestAServerWithFaultsGivesAllThatItHasOnce(t *testing.T) {
	const pages = 300
	var mu sync.Mutex
	tries, whole, faults := map[string]int{}, map[string]int{}, 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		tries[r.URL.Path]++
		h := fnv.New32a()
		fmt.Fprint(h, r.URL.Path, tries[r.URL.Path])
		draw := h.Sum32() >> 8
		fail := draw%5 == 0
		if fail {
			faults++
		}
		mu.Unlock()
		body := strings.Repeat(r.URL.Path, 100)
		if fail {
			switch draw / 5 % 4 {
			case 0:
				w.WriteHeader(http.StatusServiceUnavailable)
			case 1:
				panic(http.ErrAbortHandler)
			case 2:
				w.Header().Set("Content-Length", fmt.Sprint(len(body)))
				io.WriteString(w, body[:len(body)/2])
			case 3:
				<-r.Context().Done()
			}
			return
		}
		if strings.HasPrefix(r.URL.Path, "/gone") || !strings.HasPrefix(r.URL.Path, "/page") {
			http.NotFound(w, r)
			return
		}
		mu.Lock()
		whole[r.URL.Path]++
		mu.Unlock()
		w.Header().Set("Content-Type", "text/html")
		io.WriteString(w, body)
	}))
	defer s.Close()
	f := fetcher(t, Options{PerHost: 16, Retries: 20, Timeout: time.Second})
	var wg sync.WaitGroup
	for i := range pages {
		wg.Go(func() {
			path := fmt.Sprintf("/page/%d", i)
			if r, err := f.Fetch(context.Background(), s.URL+path); err != nil || string(r.Body) != strings.Repeat(path, 100) {
				t.Errorf("%s: %v", path, err)
			}
		})
		if i%10 == 0 {
			wg.Go(func() {
				if _, err := f.Fetch(context.Background(), fmt.Sprintf("%s/gone/%d", s.URL, i)); fault.ReasonOf(err) != NotFound {
					t.Errorf("%v", err)
				}
			})
		}
	}
	wg.Wait()
	for path, n := range whole {
		if n != 1 {
			t.Errorf("%s was given whole %d times", path, n)
		}
	}
	if len(whole) != pages || faults < pages/10 {
		t.Errorf("%d pages of %d, %d faults", len(whole), pages, faults)
	}
}

func TestCallersAtTheSameTimeShareOneRequest(t *testing.T) {
	asked := atomic.Int64{}
	release := make(chan struct{})
	at := site(t, map[string]http.HandlerFunc{"/x": func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		<-release
		io.WriteString(w, "x")
	}})
	f := fetcher(t, Options{})
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if r, err := f.Fetch(context.Background(), at+"/x"); err != nil || string(r.Body) != "x" {
				t.Error(err)
			}
		})
	}
	for waiting := 0; waiting < 2; time.Sleep(time.Millisecond) {
		f.mu.Lock()
		for _, x := range f.flights {
			waiting = x.waiting
		}
		f.mu.Unlock()
	}
	close(release)
	wg.Wait()
	if asked.Load() != 1 {
		t.Errorf("%d requests", asked.Load())
	}
}

func TestAUserAgentIsNeeded(t *testing.T) {
	if _, err := New(Options{}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("%v", err)
	}
}
