package table

import (
	"compress/gzip"
	"encoding/json"
	"os"
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
	wrong := 0
	for i, x := range tables {
		data := []byte(x.Data)
		if x.Sort == "refuse" { // bytes that are no text
			data = data[:0]
			for _, r := range x.Data {
				data = append(data, byte(r))
			}
		}
		rows, refused, err := pairs(t, data, Options{})
		if err != nil {
			t.Fatalf("table %d (%s): %v\n%q", i, x.Sort, err, data)
		}
		if !slices.Equal(rows, x.Rows) || !slices.Equal(refused, x.Refused) {
			if wrong++; wrong < 6 {
				t.Errorf("table %d (%s): %q\nrows    %q\nwant    %q\nrefused %v, want %v", i, x.Sort, data, rows, x.Rows, refused, x.Refused)
			}
		}
	}
	if wrong > 0 {
		t.Errorf("%d of %d tables are read otherwise", wrong, len(tables))
	}
}
