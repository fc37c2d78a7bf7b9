package export_test

import (
	"bytes"
	"math"
	"testing"

	"github.com/parquet-go/parquet-go"

	"tandem/core/results/export"
	"tandem/core/results/store"
)

func TestATableIsWrittenWithTheTypesOfItsColumns(t *testing.T) {
	var b bytes.Buffer
	err := export.Table(&b, &store.Table{Columns: []string{"n", "x", "n", "", "text", "none"}, Rows: [][]any{
		{int64(1), int64(2), "a", []byte{1, 255}, int64(3), nil},
		{nil, .5, "b", nil, "three", nil},
		{int64(-4), math.Inf(1), nil, nil, nil, nil},
	}})
	if err != nil {
		t.Fatal(err)
	}
	f, err := parquet.OpenFile(bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	var names, kinds []string
	for _, c := range f.Schema().Fields() {
		names, kinds = append(names, c.Name()), append(kinds, c.Type().Kind().String())
	}
	rows := make([]parquet.Row, 4)
	r := f.RowGroups()[0].Rows()
	defer r.Close()
	n, _ := r.ReadRows(rows)
	if n != 3 {
		t.Fatalf("%d rows", n)
	}
	want := []struct{ name, kind, first string }{
		{"n", "INT64", "1"}, {"x", "DOUBLE", "2"}, {"n_2", "BYTE_ARRAY", "a"}, {"column", "BYTE_ARRAY", "01ff"}, {"text", "BYTE_ARRAY", "3"}, {"none", "BYTE_ARRAY", "<null>"},
	}
	for i, w := range want {
		if names[i] != w.name || kinds[i] != w.kind || rows[0][i].String() != w.first {
			t.Errorf("column %d is %s %s with %v, want %+v", i, names[i], kinds[i], rows[0][i], w)
		}
	}
	if !rows[1][0].IsNull() || !math.IsInf(rows[2][1].Double(), 1) {
		t.Errorf("%v, %v", rows[1], rows[2])
	}
}
