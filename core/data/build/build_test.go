package build

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"tandem/core/data/warc/warctest"
	"tandem/core/fault"
	"tandem/core/random"
)

// blocks returns a PNG of 8 × 8 blocks of random colours, which no other number has.
func blocks(n, side int) []byte {
	s := random.New(uint64(n), "blocks")
	m := image.NewRGBA(image.Rect(0, 0, side, side))
	var colours [64]color.RGBA
	for i := range colours {
		v := s.Uint64()
		colours[i] = color.RGBA{byte(v), byte(v >> 8), byte(v >> 16), 255}
	}
	for y := range side {
		for x := range side {
			m.SetRGBA(x, y, colours[y*8/side*8+x*8/side])
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// quiet is a Watcher that counts; it calls at when it is told of something.
type quiet struct {
	n  atomic.Int64
	at func(n int64)
}

func (q *quiet) Progress(string, int64, int64) {
	if n := q.n.Add(1); q.at != nil {
		q.at(n)
	}
}
func (q *quiet) Say(string) {}

// config returns the default configuration with a source in a folder of the test.
func config(t *testing.T, sources ...SourceSpec) *Config {
	t.Helper()
	c := Defaults()
	c.Out, c.Sources = filepath.Join(t.TempDir(), "set"), sources
	c.Shards.Samples = 7
	return &c
}

func build(t *testing.T, c *Config) *Summary {
	t.Helper()
	s, err := Build(context.Background(), c, Options{Watcher: &quiet{}})
	if err != nil {
		t.Fatal(fault.Format(err))
	}
	return s
}

func write(t *testing.T, dir, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// captions returns the captions of a set in order, and the whole of its files that are to be the same again.
func captions(t *testing.T, out string) (all []string, set map[string]string) {
	t.Helper()
	set = map[string]string{}
	names, _ := filepath.Glob(filepath.Join(out, "*"))
	for _, name := range names {
		if filepath.Base(name) == work {
			continue
		}
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		set[filepath.Base(name)] = string(data)
		if filepath.Ext(name) != ".tar" {
			continue
		}
		for r := tar.NewReader(bytes.NewReader(data)); ; {
			h, err := r.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			text, _ := io.ReadAll(r)
			if strings.HasSuffix(h.Name, ".txt") {
				all = append(all, string(text))
			}
		}
	}
	return all, set
}

// refused returns how many candidates each filter refused, as "filter: reason".
func refused(s *Summary) map[string]int {
	out := map[string]int{}
	for _, r := range s.Refused {
		out[r.Filter+": "+r.Reason] += r.Count
	}
	return out
}

// website returns an archive of n pages with three pictures each, of which some are refused.
func website(n int) []byte {
	var a warctest.Archive
	a.Raw("WARC-Type: warcinfo\r\nContent-Length: 0", "")
	a.Picture("https://a.example/logo.png", "image/png", blocks(9999, 32))
	for i := range n {
		a.Page(fmt.Sprintf("https://a.example/p%d.html", i), fmt.Sprintf(`<title>Page %[1]d</title><img src="logo.png" alt="The logo of the site">
			<img src="pic%[1]d.png" alt="A pattern of coloured squares, number %[1]d"><figure><img src="/gone%[1]d.png" alt="A picture that nobody kept">
			<figcaption>Nobody kept number %[1]d</figcaption></figure><img src="pic%[1]d.png?again" alt="A pattern again, number %[1]d">`, i))
		a.Picture(fmt.Sprintf("https://a.example/pic%d.png", i), "image/png", blocks(i, 80))
		if i%2 == 0 {
			a.Picture(fmt.Sprintf("https://a.example/pic%d.png?again", i), "image/png", blocks(i, 96))
		}
	}
	return a.Bytes()
}

func TestAnArchiveBecomesShardsOfPairs(t *testing.T) {
	dir := t.TempDir()
	c := config(t, SourceSpec{WARC: write(t, dir, "site.warc.gz", website(20))})
	s := build(t, c)
	got, set := captions(t, c.Out)
	var want []string
	for i := range 20 {
		want = append(want, fmt.Sprintf("A pattern of coloured squares, number %d", i))
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if s.Pages != 20 || s.Candidates != 80 || s.Kept != 20 || s.Shards != 3 {
		t.Errorf("%+v", s)
	}
	for what, n := range map[string]int{"size: too small": 20, "source: not in the archive": 30, "perceptual: looks the same": 10} {
		if refused(s)[what] != n {
			t.Errorf("%s: %d, want %d of %v", what, refused(s)[what], n, refused(s))
		}
	}
	var m Manifest
	if err := json.Unmarshal([]byte(set["manifest.json"]), &m); err != nil || m.Digest != s.Digest || m.Samples != 20 || len(m.Shards) != 3 {
		t.Errorf("%+v, %v", m, err)
	}
	again := build(t, c)
	if !again.UpToDate || again.Digest != s.Digest {
		t.Errorf("the second build: %+v", again)
	}
}

// A build that is interrupted wherever it can be gives the shards of one that was not.
func TestABuildThatEndsAnywhereGoesOnToTheSameBytes(t *testing.T) {
	dir := t.TempDir()
	source := SourceSpec{WARC: write(t, dir, "site.warc.gz", website(30))}
	whole := config(t, source)
	build(t, whole)
	_, want := captions(t, whole.Out)
	c := config(t, source)
	ends := 0
	for {
		ctx, cancel := context.WithCancel(context.Background())
		stop := int64(1 + 7*ends%40)
		_, err := Build(ctx, c, Options{Threads: 1 + ends%3, Watcher: &quiet{at: func(n int64) {
			if n == stop {
				cancel()
			}
		}}})
		cancel()
		if err == nil {
			break
		}
		if ends++; fault.KindOf(err) != fault.Canceled || ends > 300 {
			t.Fatalf("end %d: %v", ends, err)
		}
	}
	if ends < 3 {
		t.Errorf("it was interrupted %d times only", ends)
	}
	if _, got := captions(t, c.Out); !equal(got, want) {
		t.Errorf("after %d ends the files differ: %v", ends, names(got))
	}
}

func equal(a, b map[string]string) bool {
	for name := range a {
		if a[name] != b[name] {
			return false
		}
	}
	return len(a) == len(b)
}

func names(m map[string]string) (all []string) {
	for name := range m {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

func TestAFolderOfPagesIsReadAndNothingOutsideOfIt(t *testing.T) {
	top := t.TempDir()
	dir := filepath.Join(top, "docs")
	write(t, top, "secret.png", blocks(1, 80))
	write(t, dir, "img/good.png", blocks(2, 80))
	write(t, dir, "sub/page.html", []byte(`<img src="../img/good.png" alt="A pattern that is good"><img src="../../secret.png" alt="A secret that leaks">
		<img src="/img/../../secret.png" alt="A secret again"><img src="file://`+top+`/secret.png" alt="A third secret"><img src="../img/link.png" alt="A link to a secret">
		<img src="folder://other/x.png" alt="Another folder's"><img src="../img/none.png" alt="Not there at all"><img src="../img" alt="No file but a folder">
		<img src="../img/pipe.png" alt="A pipe without end">`))
	if err := os.Symlink(filepath.Join(top, "secret.png"), filepath.Join(dir, "img/link.png")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(top, "secret.html"), filepath.Join(dir, "out.html")); err != nil {
		t.Fatal(err)
	}
	write(t, top, "secret.html", []byte(`<img src="img/good.png" alt="From a page outside">`))
	if err := mkfifo(filepath.Join(dir, "img/pipe.png")); err != nil {
		t.Fatal(err)
	}
	c := config(t, SourceSpec{HTML: dir})
	s := build(t, c)
	if got, _ := captions(t, c.Out); !slices.Equal(got, []string{"A pattern that is good"}) {
		t.Errorf("%q", got)
	}
	if r := refused(s); r["source: outside the folder"] != 1 || r["source: missing picture"] != 3 {
		t.Errorf("%v", r)
	}
	skipped := map[string]int{}
	for _, x := range s.Skipped {
		skipped[x.Stage+": "+x.Reason] = x.Count
	}
	if skipped["pictures: outside the folder"] != 2 || skipped["pictures: bad address"] != 2 || skipped["pages: outside the folder"] != 1 {
		t.Errorf("%v", skipped)
	}
}

func TestListsOfPicturesAreRead(t *testing.T) {
	dir := t.TempDir()
	for i := range 4 {
		write(t, dir, fmt.Sprintf("img/%d.png", i), blocks(i, 80))
	}
	for name, text := range map[string]string{
		"a.csv":   "caption,file\n\"A pattern, the first\",img/0.png\nA pattern that is second,img/1.png\nonly one field\nAn absolute path,/etc/passwd\nA way out,../x.png\n",
		"b.jsonl": `{"image":"img/0.png","text":"A pattern, the first"}` + "\n{broken\n" + `{"image":"img/1.png","text":"A pattern that is second"}` + "\n",
		"c.txt":   "img/0.png\tA pattern, the first\n\nimg/1.png\tA pattern that is second\nftp://x.example/a.png\tOf another scheme\n",
	} {
		c := config(t, SourceSpec{List: write(t, dir, name, []byte(text))})
		build(t, c)
		if got, _ := captions(t, c.Out); !slices.Equal(got, []string{"A pattern, the first", "A pattern that is second"}) {
			t.Errorf("%s: %q", name, got)
		}
	}
	_, err := Build(context.Background(), config(t, SourceSpec{List: write(t, dir, "d.csv", []byte("a,b\n1,2\n"))}), Options{Watcher: &quiet{}})
	if err == nil || !strings.Contains(err.Error(), "no column") {
		t.Errorf("%v", err)
	}
}

func TestReservedPagesAndPicturesAreLeftOut(t *testing.T) {
	var a warctest.Archive
	a.Page("https://a.example/free.html", `<img src="1.png" alt="A pattern that is free"><img src="2.png" alt="A pattern that is not">`)
	a.Page("https://a.example/noai.html", `<meta name="robots" content="noai"><img src="3.png" alt="A pattern on a page">`)
	a.Page("https://a.example/tdm.html", `<meta name="tdm-reservation" content="1"><img src="3.png" alt="A pattern on another">`)
	a.Picture("https://a.example/1.png", "image/png", blocks(1, 80))
	a.Response("https://a.example/2.png", "Content-Type: image/png\r\nX-Robots-Tag: noimageai\r\n", blocks(2, 80))
	a.Picture("https://a.example/3.png", "image/png", blocks(3, 80))
	source := SourceSpec{WARC: write(t, t.TempDir(), "a.warc.gz", a.Bytes())}
	c := config(t, source)
	s := build(t, c)
	if got, _ := captions(t, c.Out); !slices.Equal(got, []string{"A pattern that is free"}) {
		t.Errorf("%q", got)
	}
	if r := refused(s); r["directives: noai"] != 1 || r["directives: noimageai"] != 1 || r["directives: tdm-reservation: 1"] != 1 {
		t.Errorf("%v", r)
	}
	c = config(t, source)
	if err := c.SetFilter("directives", false); err != nil {
		t.Fatal(err)
	}
	build(t, c)
	if got, _ := captions(t, c.Out); len(got) != 3 {
		t.Errorf("with directives off: %q", got)
	}
}

func TestAnotherConfigurationIsRefusedOrJudgedAnew(t *testing.T) {
	dir := t.TempDir()
	source := SourceSpec{WARC: write(t, dir, "site.warc.gz", website(10))}
	c := config(t, source)
	build(t, c)
	c.Filters.Size.Value.MinSide = 90
	_, err := Build(context.Background(), c, Options{Watcher: &quiet{}})
	if fault.KindOf(err) != fault.Conflict || !strings.Contains(err.Error(), "filters.size.min_side was 64 and is 90") {
		t.Fatalf("%v", err)
	}
	s, err := Build(context.Background(), c, Options{Watcher: &quiet{}, Rejudge: true})
	if err != nil {
		t.Fatal(err)
	}
	fresh := config(t, source)
	fresh.Filters.Size.Value.MinSide = 90
	want := build(t, fresh)
	if s.Digest != want.Digest || s.Kept != 5 || s.Kept != want.Kept {
		t.Errorf("judged anew %+v, fresh %+v", s, want)
	}
	if err := os.WriteFile(source.WARC, website(11), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Build(context.Background(), c, Options{Watcher: &quiet{}}); fault.KindOf(err) != fault.Conflict || !strings.Contains(err.Error(), "has changed") {
		t.Errorf("%v", err)
	}
	other := config(t, source)
	write(t, other.Out, "notes.txt", nil)
	if _, err := Build(context.Background(), other, Options{Watcher: &quiet{}}); fault.KindOf(err) != fault.Conflict {
		t.Errorf("a folder with files: %v", err)
	}
}

func TestWhatIsLostOfASetIsWrittenAgain(t *testing.T) {
	c := config(t, SourceSpec{WARC: write(t, t.TempDir(), "site.warc.gz", website(20))})
	build(t, c)
	_, want := captions(t, c.Out)
	for _, name := range []string{"shard-000001.tar", "report.html"} {
		if err := os.Remove(filepath.Join(c.Out, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
	if s := build(t, c); s.UpToDate {
		t.Error("nothing was done")
	}
	if _, got := captions(t, c.Out); !equal(got, want) {
		t.Errorf("%v", names(got))
	}
}
