package shard

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tandem/core/data/object"
	"tandem/core/fault"
)

// Shards of a web server are indexed once, and give what files do. Their signatures are told to nobody.
func TestShardsOfAServer(t *testing.T) {
	var asked atomic.Int64
	files := http.FileServer(http.Dir("testdata"))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		files.ServeHTTP(w, r)
	}))
	defer server.Close()
	names := []string{server.URL + "/written-000000.tar?signature=secret", server.URL + "/packed.tar.gz", server.URL + "/absent.tar"}
	o := Options{Wanted: wanted(t, "txt"), Folder: t.TempDir(), Threads: 2, UnpackedBytes: 1 << 20}
	store, err := object.New(context.Background(), object.Options{CacheDir: t.TempDir(), CacheBytes: 1 << 30, Patience: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	local := open(t, Options{Wanted: o.Wanted}, "testdata/written-000000.tar", "testdata/packed.tar.gz")
	for turn := range 2 {
		before := asked.Load()
		s, err := Open(context.Background(), store, names, o)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if s.Built != 2*(1-turn) || turn == 1 && asked.Load()-before > 3 {
			t.Errorf("turn %d: %d looked through, %d requests", turn, s.Built, asked.Load()-before)
		}
		for k, x := range local.Shards {
			if describe(s.Shards[k]) != describe(x) {
				t.Errorf("%s", describe(s.Shards[k]))
			}
			r := s.Shards[k].At(1)
			got, err := s.Read(context.Background(), k, r.Offset, r.Size)
			want, _ := local.Read(context.Background(), k, r.Offset, r.Size)
			if err != nil || string(got) != string(want) {
				t.Errorf("%s: other bytes (%v)", x.Shard, err)
			}
		}
		if f := s.Shards[2].Flaws; len(f) != 1 || f[0].Reason != reasonMissing {
			t.Errorf("%+v", f)
		}
		if _, whole := s.Digest(); !whole {
			t.Error("ETags do not stand for contents")
		}
	}
	for _, path := range []string{"*.index", "*"} {
		found, _ := filepath.Glob(filepath.Join(o.Folder, path))
		for _, f := range found {
			if data, _ := os.ReadFile(f); strings.Contains(f+string(data), "secret") {
				t.Errorf("%s tells the signature", f)
			}
		}
	}
	// A server that is away is nobody's flaw.
	server.Close()
	if _, err := Open(context.Background(), store, []string{server.URL + "/odd.tar"}, o); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("%v", err)
	}
}
