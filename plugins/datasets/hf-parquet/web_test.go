package main

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"

	"tandem/core/clip"
	"tandem/core/fault"
)

// Files of a server give the samples of the files; when it is away the batch ends, and no sample counts as broken.
func TestFilesOfAServerAreReadByRanges(t *testing.T) {
	var away atomic.Bool
	serve := http.FileServer(http.Dir("testdata"))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if away.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		serve.ServeHTTP(w, r)
	}))
	defer server.Close()
	local, _ := all(t, map[string]any{"files": []string{"testdata/train-*"}})
	names := []string{server.URL + "/train-0000{0..1}-of-00002.parquet"}
	b, info := all(t, map[string]any{"files": names})
	if !slices.Equal(red(b), red(local)) || !slices.EqualFunc(b.All, local.All, slices.Equal[[]string]) || !slices.Equal(b.Keys, local.Keys) || info.Len != 16 {
		t.Errorf("%v %q", red(b), b.Keys)
	}
	b, info = all(t, map[string]any{"files": []string{server.URL + "/paths.parquet"}})
	if info.Len != 4 || !slices.Equal(red(b)[:3], numbers(30, 33)) || len(b.Faults) != 1 || b.Faults[0].Reason != "missing picture" {
		t.Errorf("pictures beside the file: %v, %+v", red(b), b.Faults)
	}
	d, _, err := configure(t, map[string]any{"files": []string{server.URL + "/paths.parquet"}, "patience": "0.2 s"})
	if err != nil {
		t.Fatal(err)
	}
	away.Store(true)
	if b, err := d.Batch(t.Context(), clip.BatchRequest{Indices: []int{1}}); fault.ReasonOf(err) != clip.ReasonStore {
		t.Errorf("a server that is away: %v (%s), %+v", err, fault.ReasonOf(err), b)
	}
	away.Store(false)
	if b, err := d.Batch(t.Context(), clip.BatchRequest{Indices: []int{1}}); err != nil || len(b.Faults) > 0 {
		t.Errorf("when it is back: %v", err)
	}
}
