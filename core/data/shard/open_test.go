package shard

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"tandem/core/data/object"
	"tandem/core/fault"
)

// settleAtOnce lets indexes of files be kept that were written just now.
func settleAtOnce(t *testing.T) {
	before := settleTime
	settleTime = -time.Minute
	t.Cleanup(func() { settleTime = before })
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func one(t *testing.T, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil || len(found) != 1 {
		t.Fatalf("%s: %q, %v", pattern, found, err)
	}
	return found[0]
}

func TestIndexesAreKeptAndMadeAnewWhenTheyDoNotFit(t *testing.T) {
	settleAtOnce(t)
	path := save(t, "a.tar", tarOf(t, pairs(3)...))
	o := Options{Wanted: wanted(t, "txt"), Folder: t.TempDir()}
	first := open(t, o, path)
	kept := one(t, filepath.Join(o.Folder, "*"))
	if again := open(t, o, path); first.Built != 1 || again.Built != 0 || describe(again.Shards[0]) != describe(first.Shards[0]) {
		t.Fatalf("%d, then %d shards were looked through", first.Built, again.Built)
	}
	for name, c := range map[string]struct {
		spoil func()
		want  string
	}{
		"broken": {func() {
			data, _ := os.ReadFile(kept)
			data[len(data)-40] ^= 1
			write(t, kept, data)
		}, "a broken index: its checksum is wrong"},
		"cut off": {func() { os.Truncate(kept, 100) }, "a broken index"},
		"empty":   {func() { os.Truncate(kept, 0) }, "no index of a shard"},
		"foreign": {func() { write(t, kept, bytes.Repeat([]byte("x"), 1000)) }, "no index of a shard"},
		"of another shard": {func() {
			other := save(t, "a.tar", tarOf(t, pairs(1)...))
			open(t, o, other)
			data, _ := os.ReadFile(fileOf(o.Folder, other, o.Wanted.digest(), indexEnding))
			write(t, kept, data)
		}, "is the index of "},
		"stale": {func() { write(t, path, tarOf(t, pairs(3)...)) }, "has changed since it was indexed"},
	} {
		c.spoil()
		s := open(t, o, path)
		if s.Built != 1 || len(s.Stale) != 1 || !strings.Contains(s.Stale[0], c.want) || s.Shards[0].Len() != 3 {
			t.Errorf("%s: %d looked through, %q", name, s.Built, s.Stale)
		}
		if s = open(t, o, path); s.Built != 0 {
			t.Errorf("%s: looked through twice", name)
		}
	}
	if s := open(t, Options{Wanted: wanted(t, "json:caption"), Folder: o.Folder}, path); s.Built != 1 || len(s.Stale) != 0 {
		t.Errorf("other settings: %d, %q", s.Built, s.Stale)
	}
}

// A file that was written just now may be written again within the resolution of its times.
func TestIndexesOfFreshFilesAreNotKept(t *testing.T) {
	o := Options{Wanted: wanted(t, "txt"), Folder: t.TempDir()}
	open(t, o, save(t, "a.tar", tarOf(t, pairs(1)...)))
	if found, _ := filepath.Glob(filepath.Join(o.Folder, "*")); len(found) != 0 {
		t.Errorf("%q", found)
	}
}

func TestTheDigestStandsForContents(t *testing.T) {
	o := Options{Wanted: wanted(t, "txt")}
	data := tarOf(t, pairs(2)...)
	digest := func(names ...string) string {
		sum, whole := open(t, o, names...).Digest()
		if !whole {
			t.Error("small shards are not read as a whole")
		}
		return sum
	}
	a, b := save(t, "a.tar", data), save(t, "other.tar", data)
	if digest(a) != digest(b) {
		t.Error("a copy has another digest")
	}
	changed := bytes.Clone(data)
	changed[block+3]++ // in a picture
	if digest(a) == digest(save(t, "a.tar", changed)) || digest(a) == digest(a, b) {
		t.Error("other contents have the same digest")
	}
	before := wholeBytes
	wholeBytes = 100
	t.Cleanup(func() { wholeBytes = before })
	large := func(name string) string {
		s := open(t, o, name)
		sum, whole := s.Digest()
		if whole || s.Shards[0].Len() != 2 {
			t.Error("large shards are read as a whole")
		}
		return sum
	}
	if first := large(a); first == large(b) || first != large(a) {
		t.Error("large shards are told apart by what they contain")
	}
}

func packed(t *testing.T, kind string, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	if kind == "zstd" {
		w, err := zstd.NewWriter(&b)
		if err != nil {
			t.Fatal(err)
		}
		w.Write(data)
		w.Close()
		return b.Bytes()
	}
	w := gzip.NewWriter(&b)
	w.Write(data)
	w.Close()
	return b.Bytes()
}

func TestCompressedShardsAreUnpackedOnce(t *testing.T) {
	settleAtOnce(t)
	data := tarOf(t, pairs(3)...)
	for kind, name := range map[string]string{"gzip": "a.tar.gz", "zstd": "a.tar.zst"} {
		for _, folder := range []string{t.TempDir(), ""} {
			o := Options{Wanted: wanted(t, "txt"), Folder: folder}
			path := save(t, name, packed(t, kind, data))
			for turn := range 3 {
				s := open(t, o, path)
				if got := describe(s.Shards[0]); got != "000\n001\n002" || s.Shards[0].Packed != kind {
					t.Errorf("%s: %s", kind, got)
				}
				r := s.Shards[0].At(1)
				if got, err := s.Read(context.Background(), 0, r.Offset, r.Size); err != nil || string(got) != strings.Repeat("b", 700) {
					t.Errorf("%s: %q, %v", kind, got, err)
				}
				if folder == "" {
					continue
				}
				if turn > 0 && s.Built != 0 {
					t.Errorf("%s: looked through again", kind)
				}
				if copied := one(t, filepath.Join(folder, "*"+copyEnding)); turn == 0 {
					os.Remove(copied) // it is made again
				}
			}
		}
	}
}

func TestCopiesAreBounded(t *testing.T) {
	settleAtOnce(t)
	bomb := packed(t, "gzip", make([]byte, 64<<20))
	o := Options{Wanted: wanted(t, "txt"), Folder: t.TempDir(), UnpackedBytes: 1 << 20, Threads: 1}
	store, err := object.New(context.Background(), object.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(context.Background(), store, []string{save(t, "bomb.tar.gz", bomb)}, o); fault.KindOf(err) != fault.Exhausted {
		t.Errorf("%v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(o.Folder, ".*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	// Copies of other sets make room.
	o.UnpackedBytes = 30 << 10
	a, b := save(t, "a.tar.gz", packed(t, "gzip", tarOf(t, pairs(6)...))), save(t, "b.tar.gz", packed(t, "gzip", tarOf(t, pairs(6)...)))
	open(t, o, a)
	s := open(t, o, b)
	if left := one(t, filepath.Join(o.Folder, "*"+copyEnding)); !strings.Contains(left, "b.tar.gz") || s.Shards[0].Len() != 6 {
		t.Errorf("%s, %d records", left, s.Shards[0].Len())
	}
}

func TestWhatCanBeUnpackedIsRead(t *testing.T) {
	// Pictures that do not shrink, so that half of the file has some of them.
	entries := pairs(40)
	state := uint32(1)
	for i := 0; i < len(entries); i += 2 {
		noise := make([]byte, 4000)
		for k := range noise {
			state = state*1664525 + 1013904223
			noise[k] = byte(state >> 24)
		}
		entries[i].data = string(noise)
	}
	for kind, name := range map[string]string{"gzip": "a.tar.gz", "zstd": "a.tar.zst"} {
		data := packed(t, kind, tarOf(t, entries...))
		x := open(t, Options{Wanted: wanted(t, "txt")}, save(t, name, data[:len(data)*3/4])).Shards[0]
		if kind == "gzip" && x.Len() < 20 || x.Len() >= 40 || len(x.Flaws) == 0 || x.Flaws[0].Reason != reasonShard || !strings.Contains(x.Flaws[0].Message, "its "+kind+" is broken") {
			t.Errorf("%s: %d records, %+v", kind, x.Len(), x.Flaws)
		}
	}
	x := open(t, Options{Wanted: wanted(t, "txt")}, save(t, "a.tar.xz", []byte("\xfd7zXZ\x00\x00"))).Shards[0]
	if len(x.Flaws) != 1 || !strings.Contains(x.Flaws[0].Message, "xz is not unpacked here") {
		t.Errorf("%+v", x.Flaws)
	}
}

func TestAShardThatChangesIsNotReadOn(t *testing.T) {
	path := save(t, "a.tar", tarOf(t, pairs(2)...))
	s := open(t, Options{Wanted: wanted(t, "txt")}, path)
	r := s.Shards[0].At(1)
	write(t, path, tarOf(t, pairs(3)...))
	if _, err := s.Read(context.Background(), 0, r.Offset, r.Size); fault.KindOf(err) != fault.Conflict {
		t.Errorf("%v", err)
	}
}

// Many shards, more than are kept open, read from many goroutines.
func TestManyShardsAreReadAtOnce(t *testing.T) {
	dir := t.TempDir()
	var names []string
	for i := range maxOpen + 50 {
		names = append(names, filepath.Join(dir, string(rune('a'+i%26))+strings.Repeat("x", i/26)+".tar"))
		write(t, names[i], tarOf(t, pairs(1+i%3)...))
	}
	s := open(t, Options{Wanted: wanted(t, "txt"), Folder: t.TempDir()}, names...)
	err := each(context.Background(), 4*len(names), 8, func(k int) error {
		i := k * 7 % len(names)
		r := s.Shards[i].At(i % 3)
		data, err := s.Read(context.Background(), i, r.Offset, r.Size)
		if err == nil && string(data) != strings.Repeat(string(rune('a'+i%3)), 700) {
			err = fault.New(fault.Corrupt, "shard %d has %.3q", i, data)
		}
		return err
	})
	if err != nil || s.pool.open > maxOpen {
		t.Errorf("%v, %d open", err, s.pool.open)
	}
}
