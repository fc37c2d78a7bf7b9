package shard

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tandem/core/data/object"
)

var pictures = []string{"jpg", "jpeg", "png", "webp", "gif"}

// wanted returns Wanted of the usual pictures and of texts.
func wanted(t *testing.T, texts ...string) (w Wanted) {
	t.Helper()
	w.Pictures = pictures
	for _, text := range texts {
		s, err := ParseSource(text)
		if err != nil {
			t.Fatal(err)
		}
		w.Texts = append(w.Texts, []Source{s})
	}
	return w
}

// open opens shards with what a test says of the options.
func open(t *testing.T, o Options, names ...string) *Set {
	t.Helper()
	ctx := context.Background()
	store, err := object.New(ctx, object.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if o.UnpackedBytes == 0 {
		o.UnpackedBytes = 1 << 30
	}
	o.Threads = 2
	s, err := Open(ctx, store, names, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(); store.Close() })
	return s
}

type goldenSample struct {
	Key, Text string
	Members   map[string]string // beginnings of sha256 by ending
}

// The samples are those of webdataset's own reader, in its order, if they have a picture of some bytes. From a compressed
// shard and with an index they are the same.
func TestSamplesAreThoseOfWebdataset(t *testing.T) {
	text, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden struct{ Shards map[string][]goldenSample }
	if err := json.Unmarshal(text, &golden); err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	all := 0
	for name, samples := range golden.Shards {
		for _, o := range []Options{{}, {Folder: folder}, {Folder: folder}} {
			o.Wanted = wanted(t, "txt")
			s := open(t, o, filepath.Join("testdata", name))
			x := s.Shards[0]
			got := 0
			for _, want := range samples {
				sum, ending := "", ""
				for _, e := range pictures {
					if sum = want.Members[e]; sum != "" {
						ending = e
						break
					}
				}
				if sum == "" || sum == "e3b0c44298fc1c14" || strings.Contains(want.Text, "\ufffd") { // none, empty, not UTF-8
					continue
				}
				if got == x.Len() {
					t.Fatalf("%s: %d records, want %s", name, x.Len(), want.Key)
				}
				r := x.At(got)
				data, err := s.Read(context.Background(), 0, r.Offset, r.Size)
				if err != nil {
					t.Fatal(err)
				}
				is := sha256.Sum256(data)
				if r.Key != want.Key || r.Ending != ending || hex.EncodeToString(is[:8]) != sum {
					t.Errorf("%s: sample %d is %s.%s with the picture %x, want %s.%s with %s", name, got, r.Key, r.Ending, is[:8], want.Key, ending, sum)
				}
				if text := strings.Join(r.Texts[0], "|"); text != strings.TrimSpace(want.Text) {
					t.Errorf("%s: %s has the text %q, want %q", name, r.Key, text, want.Text)
				}
				got++
			}
			if got != x.Len() {
				t.Errorf("%s: %d records, webdataset has %d", name, x.Len(), got)
			}
			all += got
		}
	}
	if all < 3*30 {
		t.Errorf("only %d samples were compared", all)
	}
}

func TestTextsComeFromMembersAndFieldsOfJSON(t *testing.T) {
	s := open(t, Options{Wanted: wanted(t, "txt", "json:caption", "json:tags", "json:meta.alt", "json:width", "json:none", "cls")}, "testdata/written-000000.tar")
	got, _ := json.Marshal(s.Shards[0].At(4).Texts)
	if want := `[["caption number 4 – Straße"],["other caption 4"],["one","tag 4"],["deep 4"],["24"],null,["1"]]`; string(got) != want {
		t.Errorf("%s, want %s", got, want)
	}
	if _, err := ParseSource("json:"); err == nil {
		t.Error("a field without a name is taken")
	}
}

// Python writes NaN for numbers that are missing, which JSON does not have.
func TestJSONOfPythonIsRead(t *testing.T) {
	s := open(t, Options{Wanted: wanted(t, "json:caption", "json:similarity", "json:status")}, "testdata/img2dataset/00000.tar")
	got, _ := json.Marshal(s.Shards[0].At(0).Texts)
	if want := `[["alt text 0"],null,["success"]]`; string(got) != want || s.Shards[0].Len() != 3 {
		t.Errorf("%d records, %s, want %s", s.Shards[0].Len(), got, want)
	}
	for in, want := range map[string]string{
		`{"a": NaN, "b": [-Infinity,Infinity], "c": "NaN \" NaN"}`: `{"a": null, "b": [null,null], "c": "NaN \" NaN"}`,
		`{"a": "x\\", "b": NaN`: `{"a": "x\\", "b": null`,
	} {
		if got := string(withoutNaN([]byte(in))); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

func TestFlawsNameTheFirstMember(t *testing.T) {
	s := open(t, Options{Wanted: wanted(t, "txt")}, "testdata/pictures.tar", "testdata/odd.tar", "testdata/absent.tar", "testdata/img2dataset/00000_stats.json")
	want := [][]string{
		{"empty picture 1 testdata/pictures.tar: member b-empty.jpg: has no bytes", "not UTF-8 1 testdata/pictures.tar: member r-latin.txt: this text is not UTF-8"},
		{"no picture 4 testdata/odd.tar: member link.txt: its sample has no picture, but txt"},
		{"missing shard 1 testdata/absent.tar: is not there"},
		{"corrupt shard 1 testdata/img2dataset/00000_stats.json: is no tar file"},
	}
	for i, x := range s.Shards {
		var got []string
		for _, f := range x.Flaws {
			skip := f.Skip(x.Shard)
			got = append(got, strings.Join([]string{skip.Reason, string(rune('0' + skip.Count)), skip.First}, " "))
		}
		if strings.Join(got, "\n") != strings.Join(want[i], "\n") {
			t.Errorf("shard %d:\n%s", i, strings.Join(got, "\n"))
		}
	}
	if len(s.Shards[1].Notes) != 1 || !strings.Contains(s.Shards[1].Notes[0], "link.jpg is a link") {
		t.Errorf("notes %q", s.Shards[1].Notes)
	}
}
