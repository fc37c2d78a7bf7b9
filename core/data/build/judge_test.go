package build

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"image/jpeg"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tandem/core/data/alike"
	"tandem/core/data/warc/warctest"
	"tandem/core/fault"
	"tandem/core/media/vision"
)

// plainSite returns an archive of one page with n good pairs.
func plainSite(t *testing.T, n int) SourceSpec {
	var a warctest.Archive
	html := ""
	for i := range n {
		html += fmt.Sprintf(`<img src="%d.png" alt="A pattern of squares, number %d">`, i, i)
		a.Picture(fmt.Sprintf("https://a.example/%d.png", i), "image/png", blocks(i, 80))
	}
	a.Page("https://a.example/", html)
	return SourceSpec{WARC: write(t, t.TempDir(), "a.warc.gz", a.Bytes())}
}

func decoded(t *testing.T, data []byte) vision.Picture {
	t.Helper()
	p, err := vision.Decode(data, vision.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPicturesOfEvaluationSetsAreLeftOut(t *testing.T) {
	source, dir := plainSite(t, 8), t.TempDir()
	write(t, dir, "eval/deep/x.png", blocks(0, 160)) // at twice the size
	var shard bytes.Buffer
	w := tar.NewWriter(&shard)
	for name, data := range map[string][]byte{"1.txt": []byte("text"), "1.png": blocks(1, 80), "2.jpg": []byte("broken")} {
		w.WriteHeader(&tar.Header{Name: name, Size: int64(len(data)), Mode: 0o644})
		w.Write(data)
	}
	w.Close()
	exact := alike.Exact(decoded(t, blocks(2, 80)))
	hashes := fmt.Sprintf("# hashes\n%016x\n%s\n", alike.Perceptual(decoded(t, blocks(3, 80))), hex.EncodeToString(exact[:]))
	c := config(t, source)
	c.Dir = dir
	c.Filters.Leakage = Setting[Leakage]{true, Leakage{Against: []string{"eval", write(t, dir, "e.tar", shard.Bytes()), write(t, dir, "hashes.txt", []byte(hashes))}, Distance: 4}}
	s := build(t, c)
	if got, _ := captions(t, c.Out); len(got) != 4 || refused(s)["leakage: in an evaluation set"] != 4 {
		t.Errorf("%q, %v", got, refused(s))
	}
	c = config(t, source)
	c.Filters.Leakage = Setting[Leakage]{true, Leakage{Against: []string{write(t, dir, "bad.txt", []byte("no hash\n"))}}}
	if _, err := Build(context.Background(), c, Options{Watcher: &quiet{}}); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "bad.txt:1") {
		t.Errorf("%v", err)
	}
}

// Scores that were computed before an interruption are not computed again.
func TestPairsThatDifferAreLeftOutByARunsEmbeddings(t *testing.T) {
	source := plainSite(t, 150)
	c := config(t, source)
	c.Filters.Similarity = Setting[Similarity]{true, Similarity{Run: "some", Min: 0.5}}
	scored := map[string]int{}
	stop := fault.New(fault.Unavailable, "the run is away")
	fail := true
	score := func(_ context.Context, pictures []vision.Picture, texts []string) ([]float32, error) {
		if len(scored) > 0 && fail {
			fail = false
			return nil, stop
		}
		out := make([]float32, len(texts))
		for i, text := range texts {
			if pictures[i].W != 80 {
				t.Errorf("a picture of %d pixels", pictures[i].W)
			}
			if scored[text]++; strings.HasSuffix(text, "7") {
				out[i] = 0.4
			} else {
				out[i] = 0.6
			}
		}
		return out, nil
	}
	if _, err := Build(context.Background(), c, Options{Watcher: &quiet{}, Score: score}); err != stop {
		t.Fatalf("%v", err)
	}
	s, err := Build(context.Background(), c, Options{Watcher: &quiet{}, Score: score})
	if err != nil {
		t.Fatal(err)
	}
	if s.Kept != 135 || refused(s)["similarity: caption and picture differ"] != 15 {
		t.Errorf("%+v", s)
	}
	for text, n := range scored {
		if n != 1 {
			t.Errorf("%s was scored %d times", text, n)
		}
	}
	if _, err := Build(context.Background(), similar(t, source), Options{Watcher: &quiet{}}); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("without a run: %v", err)
	}
}

func similar(t *testing.T, source SourceSpec) *Config {
	c := config(t, source)
	c.Filters.Similarity = Setting[Similarity]{true, Similarity{Run: "some", Min: 0.5}}
	return c
}

// members returns the members of a set's first shard by their names.
func members(t *testing.T, out string) map[string][]byte {
	t.Helper()
	f, err := os.Open(filepath.Join(out, shardName(0)))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all := map[string][]byte{}
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		if all[h.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCaptionsOfDuplicatesAreMergedAndPicturesScaled(t *testing.T) {
	var a warctest.Archive
	a.Page("https://a.example/1.html", `<figure><img src="1.png" alt="A pattern of squares" title="Click here"><figcaption>Figure 1. Sixty-four colours</figcaption></figure>`)
	a.Page("https://a.example/2.html", `<img src="copy.png" alt="The pattern again"><img src="copy.png" alt="A pattern of squares">`)
	a.Picture("https://a.example/1.png", "image/png", blocks(1, 160))
	a.Picture("https://a.example/copy.png", "image/png", blocks(1, 160))
	c := config(t, SourceSpec{WARC: write(t, t.TempDir(), "a.warc.gz", a.Bytes())})
	c.Shards.Captions, c.Shards.Side = "all", 80
	build(t, c)
	got := members(t, c.Out)
	if len(got) != 3 {
		t.Fatalf("%d members", len(got))
	}
	var m about
	if err := json.Unmarshal(got["000000000.json"], &m); err != nil {
		t.Fatal(err)
	}
	if want := []string{"A pattern of squares", "Sixty-four colours", "The pattern again"}; !slices.Equal(m.Captions, want) || m.Kind != "alt" {
		t.Errorf("%+v", m)
	}
	if m.Width != 80 || m.OriginalWidth != 160 || m.Page != "https://a.example/1.html" || m.URL != "https://a.example/1.png" || m.Source != "a.warc.gz" {
		t.Errorf("%+v", m)
	}
	if p, err := jpeg.DecodeConfig(bytes.NewReader(got["000000000.jpg"])); err != nil || p.Width != 80 {
		t.Errorf("%+v, %v", p, err)
	}
}

// Shuffled pairs are those of the set in another order, in which those of a smaller set keep theirs.
func TestPairsAreShuffledByASeed(t *testing.T) {
	source := plainSite(t, 30)
	read := func(seed int, skip bool) []string {
		c := config(t, source)
		c.Shards.Shuffle = seed
		if skip {
			c.Filters.Boilerplate.Value.Phrases = []string{"a pattern of squares, number 7", "a pattern of squares, number 11"}
		}
		build(t, c)
		got, _ := captions(t, c.Out)
		return got
	}
	plain, one, two, fewer := read(0, false), read(1, false), read(2, false), read(1, true)
	if slices.Equal(plain, one) || slices.Equal(one, two) || !slices.Equal(one, read(1, false)) {
		t.Errorf("%q, %q, %q", plain, one, two)
	}
	left := slices.DeleteFunc(slices.Clone(one), func(s string) bool { return strings.HasSuffix(s, " 7") || strings.HasSuffix(s, " 11") })
	if !slices.Equal(fewer, left) {
		t.Errorf("without two: %q, want %q", fewer, left)
	}
	slices.Sort(one)
	slices.Sort(plain)
	if !slices.Equal(plain, one) {
		t.Error("not the same pairs")
	}
}

// Each filter can be turned off by its name, alone.
func TestEachFilterGoesOffByItsName(t *testing.T) {
	for _, name := range FilterNames() {
		c := Defaults()
		if err := c.SetFilter(name, false); err != nil {
			t.Fatal(err)
		}
		_, was := func() (map[string]string, map[string]string) {
			d := Defaults()
			d.SetFilter(name, true)
			return d.parts()
		}()
		_, is := c.parts()
		if name == "directives" {
			continue // it decides what is collected
		}
		if d := difference(was, is); d != "filters."+name+" was on and is off" {
			t.Errorf("%s: %q", name, d)
		}
	}
	c := Defaults()
	if err := c.SetFilter("nonsense", true); fault.KindOf(err) != fault.Invalid {
		t.Errorf("%v", err)
	}
}

func TestConfigurationsAreCheckedWithTheirLine(t *testing.T) {
	dir := t.TempDir()
	for text, want := range map[string]string{
		"out: a\nsources: [{html: x}]\nfilters: {size: {min_sid: 3}}\n": "build.yaml:3: field min_sid not found",
		"outt: a\n":               "build.yaml:1: field outt not found",
		"filters:\n  length: 3\n": "build.yaml:2: want off, on or the filter's numbers",
		"out: [1\n":               "build.yaml",
		"filters: {size: {min_side: many}}\nout: 1": "build.yaml:1",
	} {
		_, err := Load(write(t, dir, "build.yaml", []byte(text)))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	c, err := Load(write(t, dir, "build.yaml", []byte("out: a\nsources: [{html: x, list: y}, {html: z, base: nonsense}]\ncaptions: [alt, alp]\nfilters: {flat: off, size: {min_side: 9}}\nfetch: {}\n")))
	if err != nil {
		t.Fatal(err)
	}
	if c.Filters.Flat.On || c.Filters.Size.Value.MinSide != 9 || c.Filters.Size.Value.MaxPixels == 0 || c.Fetch.Total != 32 {
		t.Errorf("%+v", c)
	}
	if err := c.Check(); err == nil || strings.Count(err.Error(), "\n") != 3 {
		t.Errorf("%v", err)
	}
}
