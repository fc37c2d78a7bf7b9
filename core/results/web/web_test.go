package web_test

import (
	"bufio"
	"compress/gzip"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/results/store"
	"tandem/core/results/web"
)

var countBody = web.NewBody(fstest.MapFS{"count.html": {Data: []byte(`{{define "main"}}<p id="runs">{{.}} runs</p>{{end}}`)}}, "count.html", template.FuncMap{})

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// follow serves a page / with the number of runs of the database at path, and counts how often it is made.
func follow(t *testing.T, path string) (server *httptest.Server, site *web.Site, made *atomic.Int64) {
	t.Helper()
	site, err := web.Follow(path, web.Options{Version: "test"})
	must(t, err)
	made = new(atomic.Int64)
	site.Page("GET /{$}", countBody, func(r *http.Request) (*web.View, error) {
		made.Add(1)
		all, err := site.Reader().Runs(r.Context(), store.Filter{})
		return &web.View{Data: len(all)}, err
	})
	server = httptest.NewServer(site)
	t.Cleanup(func() { server.CloseClientConnections(); server.Close(); site.Close() })
	return server, site, made
}

func get(t *testing.T, server *httptest.Server, path string) (int, string) {
	t.Helper()
	r, err := http.NewRequest("GET", server.URL+path, nil)
	must(t, err)
	r.Header.Set("Accept", "text/html")
	answer, err := http.DefaultClient.Do(r)
	must(t, err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	must(t, err)
	return answer.StatusCode, string(text)
}

// listen opens the stream of changes and returns the lines that name events.
func listen(t *testing.T, server *httptest.Server) <-chan string {
	t.Helper()
	ctx, end := context.WithCancel(t.Context())
	t.Cleanup(end)
	r, err := http.NewRequestWithContext(ctx, "GET", server.URL+"/live", nil)
	must(t, err)
	answer, err := http.DefaultClient.Do(r)
	must(t, err)
	events := make(chan string, 100)
	go func() {
		defer answer.Body.Close()
		defer close(events)
		for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
			if kind, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
				events <- kind
			}
		}
	}()
	if first := <-events; first != "at" {
		t.Fatalf("the stream begins with %q", first)
	}
	return events
}

// next waits for a change.
func next(t *testing.T, events <-chan string) {
	t.Helper()
	if kind, open := <-events; !open || kind != "changed" {
		t.Fatalf("event %q, stream open: %v", kind, open)
	}
}

func begin(t *testing.T, db *store.DB) *store.Run {
	t.Helper()
	r, err := db.Begin(t.Context(), store.RunMeta{Experiment: "e"})
	must(t, err)
	return r
}

func TestADatabaseAppearsChangesAndIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "later", "results.db")
	server, _, _ := follow(t, path)
	if status, body := get(t, server, "/"); status != 404 || !strings.Contains(body, "as soon as there is one") || !strings.Contains(body, "data-live") {
		t.Fatalf("without a database: %d %s", status, body)
	}
	events := listen(t, server)
	db, err := store.Open(path)
	must(t, err)
	begin(t, db)
	shows(t, server, events, "1 runs")
	begin(t, db)
	shows(t, server, events, "2 runs")
	must(t, db.Close())

	other, err := store.Open(filepath.Join(t.TempDir(), "other.db"))
	must(t, err)
	for range 5 {
		begin(t, other)
	}
	must(t, other.Close())
	for { // the server keeps no connection for long, so that the log is taken away and the file may be moved
		if _, err := os.Stat(path + "-wal"); errors.Is(err, os.ErrNotExist) {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	must(t, os.Rename(other.Path(), path))
	shows(t, server, events, "5 runs")
	must(t, os.Remove(path))
	shows(t, server, events, "as soon as there is one")
}

// shows waits for changes until the page has a text.
func shows(t *testing.T, server *httptest.Server, events <-chan string, want string) {
	t.Helper()
	for {
		if _, body := get(t, server, "/"); strings.Contains(body, want) {
			return
		}
		next(t, events)
	}
}

func TestViewersShareAPageAndKeepNobodyFromTheDatabase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.db")
	db, err := store.Open(path)
	must(t, err)
	defer db.Close()
	run := begin(t, db)
	server, _, made := follow(t, path)
	var viewers []<-chan string
	for range 5 {
		viewers = append(viewers, listen(t, server))
	}
	for step := 1; step <= 2; step++ {
		must(t, run.Metrics(step, []clip.Metric{{Name: "train/loss", Value: 1}}))
		must(t, run.Flush(t.Context()))
		for _, v := range viewers {
			next(t, v)
		}
		before := made.Load()
		var all sync.WaitGroup
		for range viewers {
			all.Go(func() {
				if status, body := get(t, server, "/"); status != 200 || !strings.Contains(body, "1 runs") {
					t.Errorf("%d %s", status, body)
				}
			})
		}
		all.Wait()
		if n := made.Load() - before; n != 1 {
			t.Errorf("the page was made %d times for five viewers", n)
		}
	}
	raw, err := sql.Open("sqlite3", path)
	must(t, err)
	defer raw.Close()
	var busy, log, done int
	must(t, raw.QueryRow("PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &log, &done))
	info, err := os.Stat(path + "-wal")
	must(t, err)
	if busy != 0 || info.Size() != 0 {
		t.Errorf("while viewers stay, the checkpoint is busy (%d) and the log has %d bytes", busy, info.Size())
	}
}

func TestAPageOfADatabaseThatNobodyWritesToIsMadeOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.db")
	db, err := store.Open(path)
	must(t, err)
	begin(t, db)
	must(t, db.Close())
	server, _, made := follow(t, path)
	get(t, server, "/")
	for {
		if _, err := os.Stat(path + "-shm"); errors.Is(err, os.ErrNotExist) { // the server has closed its connections
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	get(t, server, "/")
	if n := made.Load(); n != 1 {
		t.Errorf("the page was made %d times", n)
	}
}

func TestADatabaseThatIsReadFromACopySaysSo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.db")
	db, err := store.Open(path)
	must(t, err)
	must(t, db.Close())
	raw, err := sql.Open("sqlite3", path)
	must(t, err)
	_, err = raw.Exec("CREATE TRIGGER strange AFTER INSERT ON run BEGIN SELECT 1; END")
	must(t, err)
	must(t, raw.Close())
	server, _, _ := follow(t, path)
	if status, body := get(t, server, "/"); status != 200 || !strings.Contains(body, "The pages show a copy") {
		t.Errorf("%d %s", status, body)
	}
}

func TestWhatIsNoDatabaseIsRefusedAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notes.txt")
	must(t, os.WriteFile(path, []byte(strings.Repeat("notes ", 1000)), 0o644))
	if _, err := web.Follow(path, web.Options{}); err == nil {
		t.Error("a text is served")
	}
}

func TestFaultsAreShownAndNotKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.db")
	db, err := store.Open(path)
	must(t, err)
	must(t, db.Close())
	server, site, _ := follow(t, path)
	var calls atomic.Int64
	site.Data("GET /data", func(w http.ResponseWriter, r *http.Request) error {
		switch calls.Add(1) {
		case 1:
			return fault.New(fault.Invalid, "no <b>metric</b>").WithHint("name one")
		case 2:
			panic(http.ErrAbortHandler)
		}
		w.Header().Set("Content-Type", "text/csv")
		_, err := fmt.Fprint(w, "a,b\n")
		return err
	})
	if status, body := get(t, server, "/data"); status != 400 || !strings.Contains(body, "no &lt;b&gt;metric&lt;/b&gt;") || !strings.Contains(body, "name one") {
		t.Errorf("%d %s", status, body)
	}
	func() {
		defer func() { recover() }() // as net/http does
		site.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/data", nil))
		t.Error("a handler that panics is answered")
	}()
	for range 2 {
		if status, body := get(t, server, "/data"); status != 200 || body != "a,b\n" {
			t.Errorf("%d %q", status, body)
		}
	}
	if n := calls.Load(); n != 3 {
		t.Errorf("the data was made %d times", n)
	}
}

func TestLargeAnswersGoThrough(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.db")
	db, err := store.Open(path)
	must(t, err)
	must(t, db.Close())
	server, site, _ := follow(t, path)
	line := strings.Repeat("x", 1<<20)
	site.Data("GET /large", func(w http.ResponseWriter, r *http.Request) error {
		var all []error
		for range 6 {
			_, err := io.WriteString(w, line)
			all = append(all, err)
		}
		return errors.Join(all...)
	})
	if status, body := get(t, server, "/large"); status != 200 || len(body) != 6<<20 {
		t.Errorf("%d, %d bytes", status, len(body))
	}
}

func TestTextIsCompressedOverANetwork(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.db")
	db, err := store.Open(path)
	must(t, err)
	must(t, db.Close())
	_, site, _ := follow(t, path)
	text := strings.Repeat("step,value\n", 1000)
	site.Data("GET /curve", func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("Content-Type", "text/csv")
		_, err := io.WriteString(w, text)
		return err
	})
	for from, want := range map[string]string{"192.0.2.7:1234": "gzip", "127.0.0.1:1234": ""} {
		r := httptest.NewRequest("GET", "/curve", nil)
		r.RemoteAddr = from
		r.Header.Set("Accept-Encoding", "gzip, br")
		w := httptest.NewRecorder()
		site.ServeHTTP(w, r)
		body := io.Reader(w.Body)
		if want != "" {
			if body, err = gzip.NewReader(w.Body); err != nil {
				t.Fatal(err)
			}
		}
		got, err := io.ReadAll(body)
		if err != nil || string(got) != text || w.Header().Get("Content-Encoding") != want {
			t.Errorf("from %s: %d bytes, %v, %v", from, len(got), w.Header(), err)
		}
	}
}
