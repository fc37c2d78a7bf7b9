package build

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"tandem/core/fault"
	"tandem/core/random"
)

// faulty serves pictures, one fifth of which fail at first, or for good.
type faulty struct {
	mu     sync.Mutex
	asked  map[string]int // requests by path
	served map[string]int // answers with a picture
}

func (f *faulty) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.asked[r.URL.Path]++
	times := f.asked[r.URL.Path]
	f.mu.Unlock()
	if r.URL.Path == "/robots.txt" {
		fmt.Fprint(w, "User-agent: *\nDisallow: /private/\n")
		return
	}
	var n int
	if _, err := fmt.Sscanf(r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:], "%d.png", &n); err != nil {
		http.NotFound(w, r)
		return
	}
	s := random.New(7, "faults", n)
	if times <= 2 && s.Float64() < 0.2 {
		switch s.IntN(4) {
		case 0:
			w.WriteHeader(http.StatusServiceUnavailable)
		case 1:
			w.WriteHeader(http.StatusTooManyRequests)
		case 2: // in the midst of the answer
			w.Header().Set("Content-Length", "100000")
			w.Write(blocks(n, 80)[:100])
		default:
			panic(http.ErrAbortHandler)
		}
		return
	}
	if n%50 == 49 {
		http.NotFound(w, r)
		return
	}
	if n%50 == 48 {
		w.Header().Set("X-Robots-Tag", "noai")
	}
	f.mu.Lock()
	f.served[r.URL.Path]++
	f.mu.Unlock()
	w.Header().Set("Content-Type", "image/png")
	w.Write(blocks(n, 80))
}

// Of a server with faults everything comes that can be had, once, also when the build is interrupted on the way.
func TestAServerWithFaultsGivesAllThatCanBeHadAndNothingTwice(t *testing.T) {
	f := &faulty{asked: map[string]int{}, served: map[string]int{}}
	server := httptest.NewServer(f)
	defer server.Close()
	const n = 200
	var list strings.Builder
	for i := range n {
		dir := ""
		if i%50 == 47 {
			dir = "private/"
		}
		fmt.Fprintf(&list, "%s/%s%d.png\tA pattern of squares, number %d\n", server.URL, dir, i, i)
	}
	c := config(t, SourceSpec{List: write(t, t.TempDir(), "list.txt", []byte(list.String()))})
	c.Fetch = &FetchSpec{Agent: "tandem-test/1 (+https://a.example)", PerHost: 8, AllowPrivate: true}
	c.Fetch.fill()
	ends := 0
	var s *Summary
	for {
		ctx, cancel := context.WithCancel(context.Background())
		var err error
		s, err = Build(ctx, c, Options{Watcher: &quiet{at: func(n int64) {
			if ends < 3 && n == 5+20*int64(ends) {
				cancel()
			}
		}}})
		cancel()
		if err == nil {
			break
		}
		if ends++; fault.KindOf(err) != fault.Canceled || ends > 10 {
			t.Fatal(fault.Format(err))
		}
	}
	if got, _ := captions(t, c.Out); len(got) != n-12 || s.Kept != n-12 {
		t.Errorf("%d pairs of %d", len(got), n)
	}
	for what, want := range map[string]int{"fetch: not found": 4, "fetch: noai": 4, "fetch: refused by robots.txt": 4} {
		if refused(s)[what] != want {
			t.Errorf("%s: %d, want %d of %v", what, refused(s)[what], want, refused(s))
		}
	}
	twice := 0
	for path, n := range f.served {
		if n > 1 && !strings.HasSuffix(path, "48.png") && !strings.HasSuffix(path, "98.png") { // those are reserved and not kept
			twice++
		}
	}
	// A request that was under way when the build was interrupted may have been answered to nobody.
	if most := 3 * c.Fetch.PerHost; twice > most || ends == 0 && twice > 0 {
		t.Errorf("%d pictures were served twice", twice)
	}
	for path := range f.asked {
		if strings.HasPrefix(path, "/private/") {
			t.Errorf("%s was asked for", path)
		}
	}
	if again := build(t, c); !again.UpToDate {
		t.Error("a second build did something")
	}
}

func TestPicturesOfTheWebAreLeftAloneUnlessFetchIsGiven(t *testing.T) {
	c := config(t, SourceSpec{List: write(t, t.TempDir(), "list.txt", []byte("https://a.example/1.png\tA pattern of squares\n"))})
	if s := build(t, c); s.Kept != 0 || refused(s)["source: not in the archive"] != 1 {
		t.Errorf("%+v", s)
	}
}
