package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tandem/core/clip"
)

// A table may lie on a server, with its pictures beside it; and a table of this machine may name pictures of a store.
func TestTablesAndPicturesMayLieOnAServer(t *testing.T) {
	file := folder(t, "image,caption\na.png,one\n./b.png,two\nabsent.png,three\nhttps://example.org/x.png,four\n")
	server := httptest.NewServer(http.FileServer(http.Dir(filepath.Dir(file))))
	defer server.Close()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	local := filepath.Join(t.TempDir(), "t.csv")
	if err := os.WriteFile(local, text, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, with := range []map[string]any{{"file": server.URL + "/table.csv"}, {"file": local, "root": server.URL}} {
		raw, _ := json.Marshal(with)
		d := Plugin.New()
		info, err := d.Configure(t.Context(), clip.DatasetConfig{With: raw, ImageSize: 4, Threads: 2})
		if err != nil {
			t.Fatalf("%v: %v", with, err)
		}
		b := evaluated(t, d, info)
		d.Close()
		if !slices.Equal(b.Keys, []string{"a.png", "b.png", "absent.png"}) || b.Images.U8()[0] != 10 || b.Images.U8()[48] != 20 {
			t.Errorf("%v: %q", with, b.Keys)
		}
		if len(b.Faults) != 1 || b.Faults[0].Reason != "missing picture" || info.Skipped != 1 || !strings.Contains(info.Note, "addresses") {
			t.Errorf("%v: %+v, %+v", with, b.Faults, info)
		}
	}
}
