package table

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"tandem/core/data/object"
	"tandem/core/fault"
)

func gzipped(text string) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	z.Write([]byte(text))
	z.Close()
	return out.Bytes()
}

func zstandard(text string) []byte {
	z, _ := zstd.NewWriter(nil)
	return z.EncodeAll([]byte(text), nil)
}

// One table in every form gives the same rows.
func TestAFormatIsToldByNameOrContent(t *testing.T) {
	lines := "{\"image\":\"a.png\",\"caption\":\"one\",\"n\":1}\n\n{\"caption\":[\"two\", null, 3, true, \" \"],\"image\":\"b.png\"}\r\n"
	list := "[" + strings.Replace(strings.TrimSpace(lines), "\n\n", ",\n", 1) + "]"
	text := "image\tcaption\na.png\tone\nb.png\t\"two|3|true\"\n"
	for name, c := range map[string]struct {
		data   []byte
		format string
	}{
		"x.tsv": {[]byte(text), CSV}, "x.tsv.gz": {gzipped(text), CSV}, "x.csv.zst": {zstandard(text), CSV}, "x": {gzipped(text), CSV},
		"x.jsonl": {[]byte(lines), JSONL}, "x.ndjson.gz": {gzipped(lines), JSONL}, "x.json": {[]byte(lines), JSONL}, "y": {[]byte("\ufeff" + lines), JSONL},
		"z.json": {[]byte(list), JSON}, "z.json.zst": {zstandard(list), JSON}, "z": {[]byte("\n " + list), JSON},
	} {
		r, err := written(t, name, c.data, Options{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		rows, refused, _, err := rest(r)
		if err != nil || len(refused) > 0 || r.Format != c.format || fmt.Sprint(rows) != "[[a.png one] [b.png two|3|true]]" {
			t.Errorf("%s is %s: %q, refused %q, %v", name, r.Format, rows, refused, err)
		}
	}
}

func TestParquetIsATable(t *testing.T) {
	data, err := os.ReadFile("../parquet/testdata/groups.parquet")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"x.parquet", "x"} {
		r, err := written(t, name, data, Options{Columns: []Column{{Name: "text"}, {Name: "list"}, {Name: "number"}, {Name: "records.raw"}}})
		if err != nil {
			t.Fatal(err)
		}
		rows, _, _, err := rest(r)
		if err != nil || len(rows) != 60 || !slices.Equal(rows[3], []string{"caption 3 é猫", "3.0|3.1", "2", "3 raw 0|3 raw 1|3 raw 2"}) || rows[5][0] != "" {
			t.Errorf("%d rows, %q, %v", len(rows), rows[:6], err)
		}
	}
	_, err = written(t, "x.parquet", data, Options{Columns: []Column{{Name: "txt", Setting: "with.caption_columns"}}})
	if text := fault.Format(err); !strings.Contains(text, "with.caption_columns") || !strings.Contains(text, "did you mean text?") {
		t.Errorf("%v", err)
	}
}

func TestJSONRowsAreRefusedByLineAndReason(t *testing.T) {
	r, err := written(t, "x.jsonl", []byte(`{"image":"a","caption":"x"}
{"image":"b","caption":{"raw":"x"}}
{"image":"c","caption":"x"
[1]
{"image":"d","caption":[["x"]]}
null
{"image":"e`+"\xff"+`","caption":"x"}
{"image":"f"}
{"image":"g","caption":"x\u0000"}
`), Options{})
	if err != nil {
		t.Fatal(err)
	}
	rows, refused, lines, err := rest(r)
	if err != nil || fmt.Sprint(rows) != "[[a x] [f ]]" || !slices.Equal(lines, []int{2, 3, 4, 5, 6, 7, 9}) ||
		!slices.Equal(refused, []string{reasonRecord, reasonRecord, reasonRecord, reasonRecord, reasonRecord, reasonUTF8, reasonRecord}) {
		t.Errorf("%q, refused %q at %v, %v", rows, refused, lines, err)
	}
}

func TestBrokenTablesAreFaults(t *testing.T) {
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"columns.json":  {[]byte(`{"image":{"0":"a"},` + "\n" + `"caption":{"0":"x"}}`), ""}, // lines that are no objects
		"number.json":   {[]byte("3"), "want a list of objects"},
		"open.json":     {[]byte(`[{"image":"a","caption":"x"}`), "unexpected EOF"},
		"broken.json":   {[]byte(`[{"image":"a","caption":"x"},{]`), "row 2"},
		"empty.json":    {nil, "empty table"},
		"other.jsonl":   {[]byte(`{"images":"a","caption":"x"}`), "did you mean images?"},
		"cut.csv.gz":    {gzipped("image,caption\na,x\n")[:20], "unexpected EOF"},
		"cut.csv.zst":   {zstandard("image,caption\na,x\n")[:20], "EOF"},
		"x.zip":         {[]byte("PK\x03\x04aaaa"), "compressed by zip"},
		"x.parquet":     {[]byte("image,caption\na,x\n"), "is none, or is cut off"},
		"x.csv":         {[]byte("\xff\xfei\x00"), "iconv -f utf-16 -t utf-8"},
		"utf16.jsonl":   {[]byte("\xff\xfe{\x00"), "iconv -f utf-16"},
		"nothing.jsonl": {nil, ""},
	} {
		r, err := written(t, name, c.data, Options{})
		if err == nil {
			_, _, _, err = rest(r)
		}
		if c.want == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		} else if err == nil || !strings.Contains(fault.Format(err), c.want) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestATableThatIsNotThereIsNotFound(t *testing.T) {
	store, err := object.New(t.Context(), object.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), store, "/nowhere/x.csv", Options{Columns: pair}); fault.KindOf(err) != fault.NotFound {
		t.Errorf("%v", err)
	}
}
