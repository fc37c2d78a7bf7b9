package parquet

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"tandem/core/data/object"
	"tandem/core/fault"
)

// golden is what pyarrow says of the files of tools/goldens/parquet/generate.py, which all hold the same table.
type golden struct {
	Rows  int
	Bytes map[string][]*string
	Texts map[string][][]string
}

func want(t *testing.T) (g golden, files []string) {
	t.Helper()
	data, err := os.ReadFile("testdata/want.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatal(err)
	}
	files, _ = filepath.Glob("testdata/*.parquet")
	files = slices.DeleteFunc(files, func(f string) bool { return f == "testdata/large.parquet" })
	if len(files) < 9 || g.Rows != 60 {
		t.Fatalf("%d files, %d rows", len(files), g.Rows)
	}
	return g, files
}

func opened(t *testing.T, name string) *File {
	t.Helper()
	store, err := object.New(t.Context(), object.Options{})
	if err != nil {
		t.Fatal(err)
	}
	obj, err := store.Open(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { obj.Close() })
	f, err := Open(obj)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// leaf returns a leaf by its name or, where a structure is meant, by that of a field.
func leaf(t *testing.T, f *File, name string) Leaf {
	t.Helper()
	l, err := f.Texts(name)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestColumnsAreReadAsPyarrowReadsThem(t *testing.T) {
	g, files := want(t)
	for _, name := range files {
		f := opened(t, name)
		names := slices.Sorted(keys(g.Texts))
		var leaves []Leaf
		for _, n := range names {
			leaves = append(leaves, leaf(t, f, n))
		}
		scan := f.Scan(leaves)
		for row := 0; ; row++ {
			cells := make([][]string, len(leaves))
			err := scan.Next(cells)
			if err == io.EOF && row == g.Rows && f.Rows() == int64(g.Rows) {
				break
			}
			if err != nil {
				t.Fatalf("%s, row %d: %v", name, row, err)
			}
			for i, n := range names {
				if !slices.Equal(cells[i], g.Texts[n][row]) {
					t.Errorf("%s, row %d, %s: %q, want %q", name, row, n, cells[i], g.Texts[n][row])
				}
			}
		}
	}
}

func keys[V any](m map[string]V) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// Cells are read in an arbitrary order, by several goroutines, with pages kept and without.
func TestAnyCellIsReadByItsRow(t *testing.T) {
	g, files := want(t)
	for _, name := range files {
		for _, room := range []int64{0, 3000, 1 << 20} {
			f, cache := opened(t, name), NewCache(room)
			order := rand.New(rand.NewPCG(1, 2)).Perm(g.Rows)
			var wg sync.WaitGroup
			for k := range 3 {
				wg.Go(func() {
					for _, row := range append(slices.Clone(order[20*k:]), order...) {
						for column, list := range g.Bytes {
							l, err := f.Texts(column)
							data, ok, err2 := f.Bytes(l, int64(row), cache)
							got := sha256.Sum256(data)
							if err != nil || err2 != nil || ok != (list[row] != nil) || ok && hex.EncodeToString(got[:8]) != *list[row] {
								t.Errorf("%s, row %d, %s: %d bytes, %v, %v %v", name, row, column, len(data), ok, err, err2)
								return
							}
						}
					}
				})
			}
			wg.Wait()
			if cache.used > room || cache.used < 0 || room == 0 && len(cache.pages) > 0 {
				t.Errorf("%s: %d bytes in a cache of %d, %d pages", name, cache.used, room, len(cache.pages))
			}
		}
	}
}

func TestGroupsAndColumnsAreTold(t *testing.T) {
	f := opened(t, "testdata/groups.parquet")
	if !slices.Equal(f.Groups(), []int64{17, 17, 17, 9}) || !slices.Equal(f.Columns()[:3], []string{"blob", "image", "same"}) {
		t.Errorf("%v, %v", f.Groups(), f.Columns())
	}
	if l := leaf(t, f, "list"); !l.Repeated || !l.Bytes || !l.Text || l.Path[0] != "list" {
		t.Errorf("%+v", l)
	}
	if l := leaf(t, f, "number"); l.Repeated || l.Bytes {
		t.Errorf("%+v", l)
	}
	if l := leaf(t, f, "blob"); l.Text || !l.Bytes || f.Nulls(l, 0) != 2 || f.Nulls(l, 1) != 3 {
		t.Errorf("%+v, %d and %d nulls", l, f.Nulls(l, 0), f.Nulls(l, 1))
	}
	for column, want := range map[string]string{"txt": "did you mean text?", "image": "image.bytes, image.path", "records.sent": "raw, sentid"} {
		if _, err := f.Texts(column); fault.KindOf(err) != fault.Invalid || !strings.Contains(fault.Format(err), want) {
			t.Errorf("%s: %v", column, err)
		}
	}
}

// Whatever a byte of a file is changed to, reading it ends with an answer or with a fault.
func TestDamagedFilesAreFaults(t *testing.T) {
	store, err := object.New(t.Context(), object.Options{})
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(3, 4))
	refused := 0
	for _, name := range []string{"pyarrow", "pages2", "checked", "mixed"} {
		data, err := os.ReadFile("testdata/" + name + ".parquet")
		if err != nil {
			t.Fatal(err)
		}
		for try := range 50 {
			bad := bytes.Clone(data)
			if try%10 == 0 {
				bad = bad[:r.IntN(len(bad))]
			} else if at := r.IntN(len(bad)); try%2 == 0 { // in the footer
				bad[len(bad)-1-r.IntN(2000)] ^= byte(1 + r.IntN(255))
			} else {
				bad[at] ^= byte(1 + r.IntN(255))
			}
			file := filepath.Join(t.TempDir(), "x")
			if err := os.WriteFile(file, bad, 0o644); err != nil {
				t.Fatal(err)
			}
			obj, err := store.Open(t.Context(), file)
			if err != nil {
				t.Fatal(err)
			}
			if err := readAll(obj); err != nil {
				refused++
				if k := fault.KindOf(err); k != fault.Corrupt && k != fault.Invalid {
					t.Errorf("%s, try %d: %v", name, try, err)
				}
			}
			obj.Close()
		}
	}
	if refused < 40 {
		t.Errorf("%d of 200 damaged files are refused", refused)
	}
}

func readAll(obj object.Object) error {
	f, err := Open(obj)
	if err != nil {
		return err
	}
	if f.Rows() > 1000 {
		return fault.New(fault.Corrupt, "%d rows", f.Rows())
	}
	cache := NewCache(1 << 20)
	for _, l := range f.leaves {
		if !l.Repeated && l.Bytes {
			for row := range f.Rows() {
				if _, _, err := f.Bytes(l, row, cache); err != nil {
					return err
				}
			}
		}
	}
	scan := f.Scan(f.leaves)
	defer scan.Close()
	for cells := make([][]string, len(f.leaves)); ; {
		for i := range cells {
			cells[i] = cells[i][:0]
		}
		if err := scan.Next(cells); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func TestFilesThatAreNoParquetSaySo(t *testing.T) {
	dir := t.TempDir()
	store, _ := object.New(t.Context(), object.Options{})
	for i, c := range []struct{ data, want string }{{"PAR1", "no Parquet file"}, {strings.Repeat("x", 40), "is none, or is cut off"},
		{"PAR1aaaaaaaa\xff\xff\xff\x7fPAR1", "a footer of 2147483647 bytes"}, {"PARE    \x00\x00\x00\x00PARE", "encrypted"}} {
		file := filepath.Join(dir, fmt.Sprint(i))
		if err := os.WriteFile(file, []byte(c.data), 0o644); err != nil {
			t.Fatal(err)
		}
		obj, err := store.Open(t.Context(), file)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Open(obj); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), file) {
			t.Errorf("%q: %v", c.data, err)
		}
		obj.Close()
	}
}
