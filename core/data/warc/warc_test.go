package warc_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"

	"tandem/core/data/warc"
	"tandem/core/data/warc/warctest"
	"tandem/core/fault"
)

// read returns the addresses of an archive's records in order, and the reasons of what is damaged as "!reason".
func read(t *testing.T, data []byte) (found []string) {
	t.Helper()
	r := warc.NewReader(bytes.NewReader(data), int64(len(data)), warc.Limits{})
	for {
		rec, err := r.Next()
		switch {
		case errors.Is(err, io.EOF):
			return found
		case err != nil:
			found = append(found, "!"+fault.ReasonOf(err))
		default:
			found = append(found, rec.URI)
		}
		if len(found) > 100 {
			t.Fatalf("no end: %q", found[:10])
		}
	}
}

func archive(plain bool, names ...string) *warctest.Archive {
	a := &warctest.Archive{Plain: plain}
	for _, name := range names {
		a.Page(name, "<p>page "+name)
	}
	return a
}

func TestRecordsAreReadInOrderAndAtTheirPlaces(t *testing.T) {
	var whole bytes.Buffer // one member with all records, as gzip makes it of a file
	z := gzip.NewWriter(&whole)
	z.Write(archive(true, "a", "b", "c").Bytes())
	z.Close()
	for name, data := range map[string][]byte{
		"plain": archive(true, "a", "b", "c").Bytes(), "by record": archive(false, "a", "b", "c").Bytes(), "one member": whole.Bytes(),
	} {
		r := warc.NewReader(bytes.NewReader(data), int64(len(data)), warc.Limits{})
		var places []warc.Place
		for _, want := range []string{"a", "b", "c"} {
			rec, err := r.Next()
			if err != nil || rec.URI != want || rec.Type != "response" {
				t.Fatalf("%s: %+v, %v", name, rec, err)
			}
			places = append(places, rec.Place)
		}
		if _, err := r.Next(); !errors.Is(err, io.EOF) || r.Offset() != int64(len(data)) {
			t.Errorf("%s: the end: %v at %d of %d", name, err, r.Offset(), len(data))
		}
		if places[1].Skip == 0 {
			r.From(places[1].Offset)
			if rec, err := r.Next(); err != nil || rec.URI != "b" {
				t.Errorf("%s: from the second on: %+v, %v", name, rec, err)
			}
		}
		for _, i := range []int{2, 0, 1} {
			rec, err := r.At(places[i])
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			got, err := rec.Response(1 << 10)
			if want := "<p>page " + string("abc"[i]); err != nil || string(got.Body) != want || got.Type != "text/html" || got.Status != 200 {
				t.Errorf("%s: %+v, %v", name, got, err)
			}
		}
	}
}

func TestDamageIsNamedAndReadingGoesOnBehindIt(t *testing.T) {
	good := func(plain bool, name string) string { return archive(plain, name).String() }
	broken := []byte(good(false, "x"))
	copy(broken[30:], "\xff\xff\xff\xff\xff\xff\xff\xff")
	head := "WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: x\r\nContent-Length: "
	for name, c := range map[string]struct {
		data string
		want []string
	}{
		"only a version":        {"WARC/\n", []string{"!truncated record"}},
		"rubbish between":       {good(true, "a") + "rubbish\n" + good(true, "b"), []string{"a", "!corrupt record", "b"}},
		"a broken member":       {good(false, "a") + string(broken) + good(false, "b"), []string{"a", "!corrupt record", "b"}},
		"truncated":             {good(true, "a") + good(true, "b")[:120], []string{"a", "!truncated record"}},
		"truncated member":      {good(false, "a") + good(false, "b")[:90], []string{"a", "!truncated record"}},
		"absurd length":         {good(true, "a") + head + "4611686018427387904\r\n\r\nab\r\n\r\n" + good(true, "b"), []string{"a", "!truncated record", "b"}},
		"more than a number":    {head + "99999999999999999999\r\n\r\n" + good(true, "b"), []string{"!corrupt record", "b"}},
		"negative length":       {head + "-5\r\n\r\nab\r\n\r\n" + good(true, "b"), []string{"!corrupt record", "b"}},
		"no length":             {"WARC/1.0\r\nWARC-Type: response\r\n\r\n" + good(true, "b"), []string{"!corrupt record", "b"}},
		"length too short":      {head + "1\r\n\r\nabcdef\r\n\r\n" + good(true, "b"), []string{"x", "!corrupt record", "b"}},
		"a header without end":  {"WARC/1.0\r\nX: " + strings.Repeat("a", 1<<20) + "\r\n\r\n" + good(true, "b"), []string{"!corrupt record", "b"}},
		"many lines":            {"WARC/1.0\r\n" + strings.Repeat("X: y\r\n", 1<<16) + "\r\n" + good(true, "b"), []string{"!corrupt record", "b"}},
		"plain after a member":  {good(false, "a") + good(true, "b"), []string{"a", "b"}},
		"blank lines":           {"\r\n\r\n" + good(true, "a") + "\n\n\n", []string{"a"}},
		"nothing":               {"", nil},
		"nothing but magic":     {strings.Repeat("\x1f\x8b\x08", 1000), []string{"!corrupt record"}},
		"magic, then a record":  {strings.Repeat("\x1f\x8b\x08", 1000) + good(false, "a"), []string{"!corrupt record", "a"}},
		"another kind of file":  {"\x7fELF" + strings.Repeat("\x00", 4096), []string{"!corrupt record"}},
		"a line in the content": {good(true, "a\nWARC/1.0")[:40], []string{"!truncated record"}},
	} {
		if got := read(t, []byte(c.data)); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// bomb returns what gzip makes of a record that says it has n bytes of zeros.
func bomb(n int) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	fmt.Fprintf(z, "WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: bomb\r\nContent-Length: %d\r\n\r\n", n)
	zeros := make([]byte, 1<<20)
	for range n / len(zeros) {
		z.Write(zeros)
	}
	z.Close()
	return b.Bytes()
}

func TestABombTakesLittleMemoryAndIsLeft(t *testing.T) {
	data := append(bomb(64<<20), archive(false, "after").Bytes()...)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if got := read(t, data); !slices.Equal(got, []string{"bomb", "!decompression bomb", "after"}) {
		t.Errorf("%q", got)
	}
	runtime.ReadMemStats(&after)
	if used := (after.TotalAlloc - before.TotalAlloc) >> 20; used > 16 {
		t.Errorf("took %d MiB", used)
	}
	r := warc.NewReader(bytes.NewReader(data), int64(len(data)), warc.Limits{})
	rec, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := rec.Response(1 << 20); fault.ReasonOf(err) != "too many bytes" {
		t.Errorf("the bomb's content: %v", err)
	}
	r = warc.NewReader(bytes.NewReader(data), int64(len(data)), warc.Limits{RecordBytes: 1 << 20})
	if _, err := r.Next(); fault.ReasonOf(err) != "too many bytes" {
		t.Errorf("a record over the limit: %v", err)
	}
	if rec, err = r.Next(); err != nil || rec.URI != "after" {
		t.Errorf("behind it: %+v, %v", rec, err)
	}
}

func FuzzNext(f *testing.F) {
	f.Add(archive(true, "a", "b").Bytes())
	f.Add(archive(false, "a", "b").Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		r := warc.NewReader(bytes.NewReader(data), int64(len(data)), warc.Limits{HeaderBytes: 4096, RecordBytes: 1 << 16})
		for last, n := int64(-1), 0; ; n++ {
			rec, err := r.Next()
			if errors.Is(err, io.EOF) {
				return
			}
			if err == nil {
				rec.Response(1 << 16)
			} else if r.Offset() <= last {
				t.Fatalf("an error at %d does not take it forward: %v", last, err)
			}
			last = max(last, r.Offset()-1)
			if n > 1<<16 {
				t.Fatal("no end")
			}
		}
	})
}
