package shard

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tandem/core/data/object"
	"tandem/core/fault"
	"tandem/core/random"
)

// entry is a member to write; its header has the fields of change.
type entry struct {
	name, data string
	change     func(h *tar.Header)
}

// pairs returns n samples of a picture and a text.
func pairs(n int) (out []entry) {
	for i := range n {
		out = append(out, entry{name: fmt.Sprintf("%03d.jpg", i), data: strings.Repeat(string(rune('a'+i)), 700)},
			entry{name: fmt.Sprintf("%03d.txt", i), data: fmt.Sprint("text ", i)})
	}
	return out
}

func tarOf(t *testing.T, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Size: int64(len(e.data)), Mode: 0o644, Typeflag: tar.TypeReg}
		if e.change != nil {
			e.change(h)
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			if _, err := w.Write([]byte(e.data)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func save(t *testing.T, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// describe lists the keys of a shard, then its flaws and notes.
func describe(x *Index) string {
	var out []string
	for i := range x.Len() {
		out = append(out, x.At(i).Key)
	}
	for _, f := range x.Flaws {
		out = append(out, fmt.Sprintf("%s %d: %s", f.Reason, f.Count, strings.TrimPrefix(f.text(x.Shard), x.Shard+": ")))
	}
	for _, n := range x.Notes {
		out = append(out, "note: "+n)
	}
	return strings.Join(out, "\n")
}

func TestWhatCanBeReadOfABrokenShardIsRead(t *testing.T) {
	const per = 4 * block // a pair: two headers, 700 bytes of a picture in two blocks … and a text in one
	whole := tarOf(t, pairs(4)...)
	pair := (len(whole) - 2*block) / 4
	if pair != per+block {
		t.Fatalf("a pair has %d bytes", pair)
	}
	change := func(f func(b []byte) []byte) []byte { return f(bytes.Clone(whole)) }
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"whole":            {whole, "000\n001\n002\n003"},
		"nothing":          {nil, "corrupt shard 1: has no bytes"},
		"only an end":      {make([]byte, 10240), ""},
		"half an end":      {whole[:len(whole)-block], "000\n001\n002\n003"},
		"no end":           {whole[:len(whole)-2*block], "000\n001\n002\n003\nnote: has no mark at its end: it may have been cut off between two members"},
		"cut in a picture": {whole[:3*pair+block+100], "000\n001\n002\ncorrupt shard 1: member 003.jpg: has 700 bytes, but the shard ends after 100 of them"},
		"cut in a text":    {whole[:3*pair+4*block+2], "000\n001\n002\n003\ncorrupt shard 1: member 003.txt: has 6 bytes, but the shard ends after 2 of them"},
		"cut in a header":  {whole[:3*pair+100], fmt.Sprintf("000\n001\n002\ncorrupt shard 1: the shard ends in a header, at byte %d", 3*pair+100)},
		"cut in a PAX header": {tarOf(t, append(pairs(1), entry{name: "ü.jpg", data: "x"})...)[:pair+2*block],
			fmt.Sprintf("000\ncorrupt shard 1: the shard ends in a header, at byte %d", pair+2*block)},
		"cut after picture": {whole[:3*pair+3*block], "000\n001\n002\n003\nnote: has no mark at its end: it may have been cut off between two members"},
		"checksum of a picture": {change(func(b []byte) []byte { b[pair+150]++; return b }),
			fmt.Sprintf("000\n002\n003\ncorrupt shard 1: the header at byte %d is broken\nno picture 1: member 001.txt: its sample has no picture, but txt", pair)},
		"checksum of a text": {change(func(b []byte) []byte { b[pair+3*block] ^= 1; return b }),
			fmt.Sprintf("000\n001\n002\n003\ncorrupt shard 1: the header at byte %d is broken", pair+3*block)},
		"a block of zeros": {change(func(b []byte) []byte { return append(b[:pair:pair], append(make([]byte, block), b[pair:]...)...) }),
			fmt.Sprintf("000\n001\n002\n003\ncorrupt shard 1: the header at byte %d is broken", pair)},
		"two shards in one": {append(bytes.Clone(whole), whole...), fmt.Sprintf("000\n001\n002\n003\nnote: has further members behind its end, from byte %d on, which are not read, as webdataset does not read them", len(whole))},
		"no tar file":       {bytes.Repeat([]byte("PAR1 data "), 1000), "corrupt shard 1: is no tar file"},
		"absurd size": {change(func(b []byte) []byte {
			header := b[pair : pair+block]
			copy(header[124:136], "\x80\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xff\xff")
			return resum(b, pair)
		}), "000\n002\n003\ncorrupt shard 1: member 001.jpg: has 9223372036854775807 bytes, but the shard ends after " + fmt.Sprint(len(whole)-pair-block) + " of them\nno picture 1: member 001.txt: its sample has no picture, but txt"},
	} {
		x := open(t, Options{Wanted: wanted(t, "txt")}, save(t, "a.tar", c.data)).Shards[0]
		if got := describe(x); got != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, c.want)
		}
	}
}

// resum mends the checksum of the header at a place.
func resum(b []byte, at int) []byte {
	header := b[at : at+block]
	copy(header[148:156], "        ")
	sum := 0
	for _, x := range header {
		sum += int(x)
	}
	copy(header[148:], fmt.Sprintf("%06o\x00 ", sum))
	return b
}

func TestMembersOfEveryKind(t *testing.T) {
	kind := func(flag byte, link string) func(h *tar.Header) {
		return func(h *tar.Header) { h.Typeflag, h.Linkname, h.Size = flag, link, 0 }
	}
	picture := entry{name: "a.jpg", data: "x"}
	text := entry{name: "a.txt", data: "t"}
	for name, c := range map[string]struct {
		entries []entry
		want    string
	}{
		"a key twice":                         {[]entry{picture, text, picture, text}, "a\nduplicate key 2: member a.jpg: is there twice: the first one is used"},
		"a key that comes again":              {[]entry{picture, text, {name: "b.jpg", data: "x"}, picture}, "a\nb\na"},
		"links":                               {[]entry{{name: "a.jpg", change: kind(tar.TypeLink, "b.jpg")}, text}, "no picture 1: member a.txt: its sample has no picture, but txt\nnote: has members that are no files and are passed over: 1, the first: a.jpg is a link"},
		"pipes":                               {[]entry{{name: "p", change: kind(tar.TypeFifo, "")}, picture}, "a\nnote: has members that are no files and are passed over: 1, the first: p is a special file (type '6')"},
		"hidden files":                        {[]entry{{name: "._a.jpg", data: "x"}, picture, {name: ".x/b.jpg", data: "x"}, {name: "__MACOSX/c.jpg", data: "x"}, text}, "a"},
		"members for webdataset":              {[]entry{{name: "__key__.txt", data: "x"}, {name: "__meta__", data: "x"}, picture}, "a\nno picture 1: member __key__.txt: its sample has no picture, but txt"},
		"not UTF-8":                           {[]entry{{name: "\xff.jpg", data: "x"}, {name: "\xff.txt", data: "\xff"}}, "not UTF-8 1: member \ufffd.txt: this text is not UTF-8"},
		"an empty picture":                    {[]entry{{name: "a.jpg"}, text, {name: "b.jpg", data: "x"}}, "b\nempty picture 1: member a.jpg: has no bytes"},
		"JSON that is none":                   {[]entry{picture, {name: "a.json", data: "[1]"}}, "corrupt record 1: member a.json: this is no JSON object: json: cannot unmarshal array into Go value of type map[string]json.RawMessage"},
		"a text with a NUL":                   {[]entry{picture, {name: "a.txt", data: "x\x00"}}, "corrupt record 1: member a.txt: this text has a NUL byte"},
		"names that a terminal obeys":         {[]entry{{name: "\x1b[2J.jpg"}, picture}, "a\nempty picture 1: member \\x1b[2J.jpg: has no bytes"},
		"a name that GNU's headers hold":      {[]entry{{name: strings.Repeat("n", 5000) + ".jpg", data: "x", change: func(h *tar.Header) { h.Format = tar.FormatGNU }}}, strings.Repeat("n", 5000)},
		"a name that leads out of the folder": {[]entry{{name: "../../../etc/passwd.jpg", data: "x"}}, "../../../etc/passwd"},
	} {
		x := open(t, Options{Wanted: wanted(t, "txt", "json:caption")}, save(t, "a.tar", tarOf(t, c.entries...))).Shards[0]
		if got := describe(x); got != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, c.want)
		}
	}
}

// A sparse file has holes that are not in the tar file: its bytes are not where its size says.
func TestSparseFilesAreRefused(t *testing.T) {
	data := tarOf(t, entry{name: "a.jpg", data: "xyz", change: func(h *tar.Header) { h.Format = tar.FormatGNU }}, entry{name: "a.txt", data: "t"},
		entry{name: "b.jpg", data: "x"})
	copy(data[156:], "S")
	copy(data[386:], "00000000000\x0000000000003\x00") // three bytes from the first on
	copy(data[483:], "00000000003\x00")
	x := open(t, Options{Wanted: wanted(t, "txt")}, save(t, "a.tar", resum(data, 0))).Shards[0]
	if got, want := describe(x), "b\ncorrupt record 1: member a.jpg: sparse files are not read"; got != want {
		t.Errorf("%s", got)
	}
}

func TestTheMembersOfOneKeyAreBounded(t *testing.T) {
	const n = 50_000
	one := tarOf(t, entry{name: "k.0000000", data: ""})[:block]
	var b bytes.Buffer
	for i := range n {
		copy(one, fmt.Sprintf("k.%07d", i))
		b.Write(resum(one, 0))
	}
	b.Write(tarOf(t, entry{name: "z.jpg", data: "x"}))
	x := open(t, Options{Wanted: wanted(t, "txt")}, save(t, "a.tar", b.Bytes())).Shards[0]
	if got, want := describe(x), "z\ncorrupt record 1: member k.0001000: more than 1000 members have this key"; got != want {
		t.Errorf("%s", got)
	}
}

// What the system is to blame for is no flaw of the data.
func TestAFolderIsNoShard(t *testing.T) {
	x := open(t, Options{Wanted: wanted(t, "txt")}, t.TempDir()).Shards[0]
	if len(x.Flaws) != 1 || x.Flaws[0].Reason != "corrupt shard" || !strings.Contains(x.Flaws[0].Message, "folder") {
		t.Errorf("%+v", x.Flaws)
	}
	store, err := object.New(context.Background(), object.Options{})
	if err != nil {
		t.Fatal(err)
	}
	canceled, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Open(canceled, store, []string{"testdata/odd.tar"}, Options{Wanted: wanted(t, "txt"), Threads: 1}); fault.KindOf(err) != fault.Canceled {
		t.Errorf("%v", err)
	}
}

// Whatever bytes are changed, what is found lies within the shard.
func TestAnyBytesAreBounded(t *testing.T) {
	seeds := [][]byte{tarOf(t, pairs(3)...)}
	for _, name := range []string{"odd.tar", "pax.tar", "img2dataset/00000.tar"} {
		data, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		seeds = append(seeds, data)
	}
	r := random.New(7, "changes")
	b := &builder{Options: Options{Wanted: wanted(t, "txt", "json:caption")}}
	found := 0
	for n := range 1000 {
		data := bytes.Clone(seeds[n%len(seeds)])
		for range 1 + r.IntN(6) {
			at := r.IntN(len(data))
			if r.IntN(2) == 0 {
				at = at / block * block // in a header more often
				at = min(at+100+r.IntN(160), len(data)-1)
			}
			data[at] = byte(r.IntN(256))
			if header := at / block * block; r.IntN(2) == 0 && header+block <= len(data) {
				resum(data, header)
			}
		}
		data = data[:len(data)-r.IntN(2)*r.IntN(len(data))]
		x := &Index{about: about{Shard: "a.tar"}}
		if err := b.gather(context.Background(), x, newCursor(bytes.NewReader(data), int64(len(data)), 700, nil)); err != nil {
			t.Fatalf("change %d: %v", n, err)
		}
		x.seal(&b.Wanted)
		for i := range x.Len() {
			if r := x.At(i); r.Size < 1 || r.Offset < block || r.Offset+r.Size > int64(len(data)) {
				t.Fatalf("change %d: %+v in %d bytes", n, r, len(data))
			}
			found++
		}
	}
	if found < 1000 {
		t.Errorf("only %d records in all", found)
	}
}
