package parquet

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	lib "github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress"

	"tandem/core/data/object"
	"tandem/core/fault"
)

// picture is a row whose bytes are kept in a dictionary.
type picture struct {
	Data *[]byte `parquet:"data,optional,dict"`
}

// withDictionary writes values of up to 200 KB, some of which repeat, are empty or compress well, as one dictionary.
func withDictionary(t *testing.T, codec compress.Codec) (file string, want [][]byte) {
	t.Helper()
	r := rand.New(rand.NewPCG(5, 6))
	var rows []picture
	for i := range 40 {
		var b []byte
		switch {
		case i%9 == 4:
			b = want[i-2]
		case i%7 != 3:
			b = make([]byte, r.IntN(1+[]int{10, 3000, 200_000}[i%3]))
			for k := range b {
				if b[k] = byte(r.Uint32()); i%5 == 0 {
					b[k] &= 1
				}
			}
		}
		want = append(want, b)
		if b == nil {
			rows = append(rows, picture{})
		} else {
			rows = append(rows, picture{&b})
		}
	}
	var out bytes.Buffer
	w := lib.NewGenericWriter[picture](&out, lib.Compression(codec), lib.PageBufferSize(1<<24))
	if _, err := w.Write(rows); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "x.parquet")
	if err := os.WriteFile(file, out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return file, want
}

// A value is read without the rest of a large dictionary, where the codec allows it, and with it where not.
func TestValuesOfLargeDictionariesAreReadAlone(t *testing.T) {
	for _, codec := range []compress.Codec{&lib.Uncompressed, &lib.Snappy, &lib.Zstd, &lib.Gzip} {
		for _, small := range []int64{0, 1 << 30} {
			before := smallPage
			smallPage = small
			file, want := withDictionary(t, codec)
			f, cache := opened(t, file), NewCache(1<<24)
			for _, row := range rand.New(rand.NewPCG(1, 1)).Perm(len(want)) {
				data, ok, err := f.Bytes(f.leaves[0], int64(row), cache)
				if err != nil || ok != (want[row] != nil) || !bytes.Equal(data, want[row]) {
					t.Errorf("%v, row %d: %d bytes, %v, want %d: %v", codec, row, len(data), ok, len(want[row]), err)
				}
			}
			if codec == &lib.Uncompressed && cache.used > 1<<12 || codec != &lib.Uncompressed && cache.used < 1<<16 {
				t.Errorf("%v: %d bytes are kept", codec, cache.used)
			}
			smallPage = before
		}
	}
}

// pyarrow's snappy compresses 64 KiB at a time, so that a value is read without the others. The dictionary has 600 KB.
func TestOfSnappyOnlyTheFragmentsOfAValueAreDecoded(t *testing.T) {
	smallPage = 0
	defer func() { smallPage = 1 << 20 }()
	want, _ := os.ReadFile("testdata/large.json")
	var sums []string
	if err := json.Unmarshal(want, &sums); err != nil {
		t.Fatal(err)
	}
	f, cache := opened(t, "testdata/large.parquet"), NewCache(1<<24)
	for _, row := range rand.New(rand.NewPCG(1, 1)).Perm(len(sums)) {
		data, ok, err := f.Bytes(f.leaves[0], int64(row), cache)
		if sum := sha256.Sum256(data); err != nil || !ok || hex.EncodeToString(sum[:8]) != sums[row] {
			t.Errorf("row %d: %d bytes, %v, %v", row, len(data), ok, err)
		}
	}
	if c, err := f.chunk(0, 0); err != nil || len(c.dict.parts) < 5 || cache.used > 1<<12 {
		t.Errorf("%d fragments, %d bytes are kept (%v)", len(c.dict.parts), cache.used, err)
	}
}

// Damage in a dictionary is a fault of the rows that it holds, whatever else is read.
func TestDamagedDictionariesAreFaults(t *testing.T) {
	smallPage = 0
	defer func() { smallPage = 1 << 20 }()
	store, err := object.New(t.Context(), object.Options{})
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(7, 8))
	for _, codec := range []compress.Codec{&lib.Uncompressed, &lib.Snappy} {
		file, want := withDictionary(t, codec)
		whole, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for range 8 {
			bad := bytes.Clone(whole)
			for range 4 {
				bad[4+r.IntN(len(bad)-2000)] ^= byte(1 + r.IntN(255))
			}
			copied := filepath.Join(t.TempDir(), "x")
			if err := os.WriteFile(copied, bad, 0o644); err != nil {
				t.Fatal(err)
			}
			obj, err := store.Open(t.Context(), copied)
			if err != nil {
				t.Fatal(err)
			}
			f, err := Open(obj)
			if err != nil {
				t.Fatal(err)
			}
			cache := NewCache(1 << 20)
			for row := range want {
				if _, _, err := f.Bytes(f.leaves[0], int64(row), cache); err != nil && fault.KindOf(err) != fault.Corrupt {
					t.Errorf("row %d: %v", row, err)
				}
			}
			obj.Close()
		}
	}
}
