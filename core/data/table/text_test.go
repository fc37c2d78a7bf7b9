package table

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tandem/core/data/object"
	"tandem/core/fault"
)

// pair names the columns of most tables here.
var pair = []Column{{Name: "image", Setting: "with.image_column", Picture: true}, {Name: "caption", Setting: "with.caption_columns"}}

// written opens a table of some bytes; its name says nothing unless it is given.
func written(t *testing.T, name string, data []byte, o Options) (*Reader, error) {
	t.Helper()
	if name == "" {
		name = "table"
	}
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, data, 0o644); err != nil {
		t.Fatal(err)
	}
	store, err := object.New(t.Context(), object.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	if o.Columns == nil {
		o.Columns = pair
	}
	r, err := Open(t.Context(), store, file, o)
	if err == nil {
		t.Cleanup(func() { r.Close() })
	}
	return r, err
}

// rest reads a table to its end: the cells of its rows, lists joined by "|", and the refused lines.
func rest(r *Reader) (rows [][]string, refused []string, lines []int, err error) {
	for {
		row, err := r.Next(context.Background())
		var bad *Refusal
		switch {
		case err == io.EOF:
			return rows, refused, lines, nil
		case errors.As(err, &bad):
			refused, lines = append(refused, bad.Reason), append(lines, row.Line)
		case err != nil:
			return rows, refused, lines, err
		default:
			var cells []string
			for _, c := range row.Cells {
				cells = append(cells, strings.Join(c, "|"))
			}
			rows = append(rows, cells)
		}
	}
}

// pairs reads a table of pictures and captions. Rows without a picture or a caption are left out.
func pairs(t *testing.T, data []byte, o Options) (rows [][2]string, refused []int, err error) {
	t.Helper()
	r, err := written(t, "", data, o)
	if err != nil {
		return nil, nil, err
	}
	all, _, refused, err := rest(r)
	for _, row := range all {
		if row[0] != "" && row[1] != "" {
			rows = append(rows, [2]string{row[0], row[1]})
		}
	}
	return rows, refused, err
}

func TestTablesAreReadAsTheirDialectSays(t *testing.T) {
	for name, c := range map[string]struct {
		table   string
		want    []string // image=caption
		refused []int
	}{
		"comma not quoted":           {"image,caption\na.png,a cat, sitting\nb.png,x\n", []string{"b.png=x"}, []int{2}},
		"empty cells at the end":     {"image,caption\na.png,x,,\nb.png,y, \n", []string{"a.png=x", "b.png=y"}, nil},
		"quotes within a cell":       {"image,caption\na.png,a \"big\" dog\nb.png,5\" nail\n", []string{`a.png=a "big" dog`, `b.png=5" nail`}, nil},
		"text behind quotes":         {"image,caption\na.png,\"bad\"quote\nb.png,\"x\" \n", []string{"b.png=x"}, []int{2}},
		"not closed":                 {"image,caption\na.png,x\nb.png,\"Welcome\nc.png,y\n", []string{"a.png=x", "c.png=y"}, []int{3}},
		"not closed, closed by next": {"image,caption\na.png,\"Welcome\nb.png,5\"\nc.png,y\n", []string{"b.png=5\"", "c.png=y"}, []int{2}},
		"not closed, a comma in it":  {"image,caption\na.png,\"We, all\nb.png,z\nc.png,5\"\n", []string{"b.png=z", "c.png=5\""}, []int{2}},
		"over lines":                 {"image,caption\na.png,\"one\ntwo, \"\"three\"\"\"\nb.png,x\n", []string{"a.png=one\ntwo, \"three\"", "b.png=x"}, nil},
		"over lines, first column":   {"caption,image\n\"one\ntwo\",a.png\nx,b.png\n", []string{"a.png=one\ntwo", "b.png=x"}, nil},
		"tab, quote first":           {"image\tcaption\na.png\t\"Welcome\" sign\nb.png\tx\n", []string{`a.png="Welcome" sign`, "b.png=x"}, nil},
		"tab, quote not closed":      {"image\tcaption\na.png\t\"Welcome\nb.png\t5\"\nc.png\ty\n", []string{`a.png="Welcome`, `b.png=5"`, "c.png=y"}, nil},
		"tab, quoted":                {"image\tcaption\na.png\t\"a\tb \"\"c\"\"\"\nb.png\t\"x\"\n", []string{"a.png=a\tb \"c\"", "b.png=x"}, nil},
		"tab, over lines":            {"image\tcaption\na.png\t\"one\ntwo\"\nb.png\tx\n", []string{"a.png=one\ntwo", "b.png=x"}, nil},
		"CR only":                    {"image,caption\ra.png,x\rb.png,\"y\rz\"\r", []string{"a.png=x", "b.png=y\rz"}, nil},
		"blank lines":                {"\n\nimage,caption\n\n  \na.png,x\n\n", []string{"a.png=x"}, nil},
		"Excel's first line":         {"sep=;\r\nimage;caption\r\na.png;x, y\r\nb.png\r\n", []string{"a.png=x, y"}, []int{4}},
		"NUL":                        {"image,caption\na.png,x\x00y\nb.png,y\n", []string{"b.png=y"}, []int{2}},
		"not UTF-8":                  {"image,caption\na\xff.png,x\nb.png,y\n", []string{"b.png=y"}, []int{2}},
		"more names than cells":      {"image;caption, long, of words, many\na.png;x\n", nil, nil}, // no column caption
		"delimiter by columns":       {"image;caption;a,b,c,d\na.png;x;1\n", []string{"a.png=x"}, nil},
	} {
		got, refused, err := pairs(t, []byte(c.table), Options{})
		if c.want == nil {
			if err == nil {
				t.Errorf("%s: read %v", name, got)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var rows []string
		for _, r := range got {
			rows = append(rows, r[0]+"="+r[1])
		}
		if !slices.Equal(rows, c.want) || !slices.Equal(refused, c.refused) {
			t.Errorf("%s: rows %q, want %q; refused lines %v, want %v", name, rows, c.want, refused, c.refused)
		}
	}
}

// A delimiter may be any character: it is taken as it is.
func TestAnyCharacterDelimits(t *testing.T) {
	for _, d := range []string{":", "^", "§", "space", " "} {
		char := d
		if d == "space" {
			char = " "
		}
		text := strings.ReplaceAll("image_caption\na.png_\"x_y\"\nb.png_z\n", "_", char)
		rows, refused, err := pairs(t, []byte(text), Options{Delimiter: d})
		if want := [][2]string{{"a.png", "x" + char + "y"}, {"b.png", "z"}}; err != nil || !slices.Equal(rows, want) || refused != nil {
			t.Errorf("%q: %q, refused %v, %v", d, rows, refused, err)
		}
	}
	for _, d := range []string{"ab", "\n", `"`} {
		if CheckDelimiter(d) == nil {
			t.Errorf("%q is a delimiter", d)
		}
	}
}

func TestColumnsThatAreNotThereAreNamed(t *testing.T) {
	_, err := written(t, "", []byte("Image,text,text\na,b,c\n"), Options{Columns: []Column{pair[0], {Name: "text", Setting: "with.negatives"}}})
	text := fault.Format(err)
	for _, want := range []string{`with.image_column: no column "image"`, "did you mean Image?", `with.negatives: there are two columns "text"`} {
		if !strings.Contains(text, want) {
			t.Errorf("%s\nlacks %q", text, want)
		}
	}
}
