package main

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestTablesAreReadAsPandasReadsThem reads the tables of tools/goldens/tables/generate.py.
func TestTablesAreReadAsPandasReadsThem(t *testing.T) {
	f, err := os.Open("testdata/pandas.json.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var tables []struct {
		Sort, Data string
		Rows       [][2]string
		Refused    []int
	}
	if err := json.NewDecoder(z).Decode(&tables); err != nil {
		t.Fatal(err)
	}
	if len(tables) < 500 {
		t.Fatalf("%d tables", len(tables))
	}
	dir, wrong := t.TempDir(), 0
	for i, x := range tables {
		data := []byte(x.Data)
		if x.Sort == "refuse" { // bytes that are no text
			data = data[:0]
			for _, r := range x.Data {
				data = append(data, byte(r))
			}
		}
		cfg := Defaults
		cfg.File = filepath.Join(dir, "table")
		if err := os.WriteFile(cfg.File, data, 0o644); err != nil {
			t.Fatal(err)
		}
		got, err := cfg.read(context.Background())
		if err != nil {
			t.Fatalf("table %d (%s): %v\n%q", i, x.Sort, err, data)
		}
		var rows [][2]string
		for _, r := range got.rows {
			rows = append(rows, [2]string{r.image, r.captions[0]})
		}
		var refused []int
		for _, r := range got.refusals {
			refused = append(refused, r.Line)
		}
		if !slices.Equal(rows, x.Rows) || got.refused != len(x.Refused) || !slices.Equal(refused, x.Refused[:min(len(x.Refused), maxRefusals)]) {
			if wrong++; wrong < 6 {
				t.Errorf("table %d (%s): %q\nrows    %q\nwant    %q\nrefused %v, want %v", i, x.Sort, data, rows, x.Rows, got.refusals, x.Refused)
			}
		}
	}
	if wrong > 0 {
		t.Errorf("%d of %d tables are read otherwise", wrong, len(tables))
	}
}
