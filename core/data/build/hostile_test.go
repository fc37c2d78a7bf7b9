package build

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"runtime"
	"strings"
	"testing"

	"tandem/core/data/warc/warctest"
	"tandem/core/fault"
)

// hugePNG returns a small file whose header says 50,000 × 50,000 pixels.
func hugePNG() []byte {
	data := bytes.Clone(blocks(1, 80))
	binary.BigEndian.PutUint32(data[16:], 50_000)
	binary.BigEndian.PutUint32(data[20:], 50_000)
	binary.BigEndian.PutUint32(data[29:], crc32.ChecksumIEEE(data[12:29]))
	return data
}

// An archive of everything that an enemy may put into one gives its one good pair, and names the rest.
func TestAHostileArchiveIsBoundedAndNamed(t *testing.T) {
	var a warctest.Archive
	page := func(name, html string) { a.Page("https://a.example/"+name, html) }
	page("good.html", `<img src="good.png" alt="A pattern of squares"><img src="cut.png" alt="A pattern that is cut"><img src="huge.png" alt="A pattern that is huge">
		<img src="text.png" alt="A pattern that is none"><img src="empty.png" alt="A pattern without bytes"><img src="file:///etc/passwd" alt="The passwords of all">`)
	page("good.html", `<img src="other.png" alt="The same page again">`)
	page("many.html", strings.Repeat("<img src=a.png alt='One of a million'>", 1_000_000)[:12<<20])
	page("deep.html", strings.Repeat("<div>", 5_000)+`<img src="good.png" alt="A pattern that is deep">`)
	page("alt.html", `<img src="good.png" alt="`+strings.Repeat("long ", 1<<20)+`">`)
	a.Picture("https://a.example/good.png", "image/png", blocks(1, 80))
	a.Picture("https://a.example/good.png", "image/png", blocks(2, 80))
	a.Picture("https://a.example/cut.png", "image/png", blocks(3, 80)[:200])
	a.Picture("https://a.example/huge.png", "image/png", hugePNG())
	a.Picture("https://a.example/text.png", "image/png", []byte("<html>not found</html>"))
	a.Picture("https://a.example/empty.png", "image/png", nil)
	a.Picture("file:///etc/shadow.png", "image/png", blocks(4, 80))
	a.Picture("folder://docs/x.png", "image/png", blocks(5, 80))
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	z.Write(make([]byte, 100<<20))
	z.Close()
	a.Response("https://a.example/bomb.html", "Content-Type: text/html\r\nContent-Encoding: gzip\r\n", packed.Bytes())
	a.Write([]byte("rubbish"))
	page("after.html", `<p>Nothing</p>`)
	a.Raw("WARC-Type: response\r\nWARC-Target-URI: https://a.example/endless\r\nContent-Length: 4611686018427387904", "HTTP/1.1 200 OK\r\n\r\n")
	page("last.html", `<p>Nothing</p>`)
	whole := a.Len()
	page("tail.html", `<p>Nothing</p>`)
	c := config(t, SourceSpec{WARC: write(t, t.TempDir(), "a.warc.gz", a.Bytes()[:whole+40])})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	s := build(t, c)
	runtime.ReadMemStats(&after)
	if got, _ := captions(t, c.Out); len(got) != 1 || got[0] != "A pattern of squares" {
		t.Errorf("%q", got)
	}
	for what, n := range map[string]int{"picture: truncated picture": 1, "picture: too many pixels": 1, "picture: corrupt picture": 1, "picture: empty picture": 1, "length: too long": 1} {
		if refused(s)[what] != n {
			t.Errorf("%s: %d, want %d of %v", what, refused(s)[what], n, refused(s))
		}
	}
	skipped := map[string]int{}
	for _, x := range s.Skipped {
		skipped[x.Stage+": "+x.Reason] = x.Count
	}
	for what, n := range map[string]int{"pages: duplicate page": 1, "pages: too many tags": 1, "pages: nested too deeply": 1, "records: bad address": 2,
		"records: decompression bomb": 1, "records: corrupt record": 1, "records: too many bytes": 1, "records: truncated record": 1, "pictures: bad address": 1,
		"texts: text cut": 1} {
		if skipped[what] != n {
			t.Errorf("%s: %d, want %d of %v", what, skipped[what], n, skipped)
		}
	}
	if peak := (after.Sys - before.Sys) >> 20; peak > 500 {
		t.Errorf("took %d MiB", peak)
	}
}

func TestAHostileListIsBoundedAndNamed(t *testing.T) {
	text := strings.Repeat("x", 3<<20) + "\n" + "caf\xe9.png\tNot Unicode\n" + "http://[::1\tNo address\n" + strings.Repeat("../", 50) + "etc/passwd\tThe passwords\n"
	s := build(t, config(t, SourceSpec{List: write(t, t.TempDir(), "list.txt", []byte(text))}))
	got := map[string]int{}
	for _, x := range s.Skipped {
		got[x.Reason] += x.Count
	}
	if want := "map[bad address:1 not UTF-8:1 outside the folder:1 too many bytes:1]"; fmt.Sprint(got) != want {
		t.Errorf("%v, want %s", got, want)
	}
}

func TestTwoBuildsDoNotWorkInOneFolder(t *testing.T) {
	c := config(t, SourceSpec{WARC: write(t, t.TempDir(), "site.warc.gz", website(3))})
	tried := false
	_, err := Build(context.Background(), c, Options{Watcher: &quiet{at: func(int64) {
		if tried {
			return
		}
		tried = true
		if _, err := Build(context.Background(), c, Options{Watcher: &quiet{}}); fault.KindOf(err) != fault.Conflict {
			t.Errorf("the second: %v", err)
		}
	}}})
	if err != nil {
		t.Fatal(err)
	}
}
