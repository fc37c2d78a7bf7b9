package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"tandem/core/clip"
	"tandem/core/data/shard"
)

// A set of 100,000 samples in 100 shards is opened without indexes, then with them; the log tells how long it took and the memory.
func TestALargeSet(t *testing.T) {
	if os.Getenv("TANDEM_LONG") == "" {
		t.Skip("takes half a gigabyte of disk; TANDEM_LONG=1 runs it")
	}
	dir, cache := t.TempDir(), t.TempDir()
	const shards, each = 100, 1000
	picture := bytes.Repeat([]byte("picture "), 256)
	for s := range shards {
		_, err := shard.Write(filepath.Join(dir, fmt.Sprintf("%05d.tar", s)), func(add func(string, ...shard.Member) error) error {
			for i := range each {
				caption := fmt.Sprintf("a photo number %d of shard %d with as many words as alt texts usually have", i, s)
				meta, err := json.Marshal(map[string]any{"caption": caption, "url": "https://example.org/a.jpg", "status": "success", "width": 64, "height": 64})
				if err != nil {
					return err
				}
				if err := add(fmt.Sprintf("%05d%04d", s, i), shard.Member{Ending: "jpg", Data: picture}, shard.Member{Ending: "txt", Data: []byte(caption)},
					shard.Member{Ending: "json", Data: meta}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(3 * time.Second) // indexes of files that changed just now are not kept
	with, _ := json.Marshal(map[string]any{"shards": []string{filepath.Join(dir, "{00000..00099}.tar")}})
	var first clip.DatasetInfo
	for turn := range 3 {
		before := heap()
		d, began := Plugin.New(), time.Now()
		info, err := d.Configure(context.Background(), clip.DatasetConfig{With: with, ImageSize: 8, Threads: 2, CacheDir: cache})
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("opened in %v, %d MiB", time.Since(began), (heap()-before)>>20)
		if turn == 0 {
			first = info
		}
		if info.Len != shards*each || info.Digest != first.Digest || len(info.Shards) != shards || info.Skipped != 0 {
			t.Errorf("turn %d: %d samples in %d shards, %d refused", turn, info.Len, len(info.Shards), info.Skipped)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if kept, _ := filepath.Glob(filepath.Join(cache, "shards", "*.index")); len(kept) != shards {
		t.Errorf("%d indexes", len(kept))
	}
}

// heap returns the bytes of memory that are in use.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
