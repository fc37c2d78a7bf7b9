package main_test

import (
	"archive/tar"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// shards packs the pictures of gallery into tar files of five, each with a caption but every ninth.
func shards(t *testing.T, dir string, n int) {
	t.Helper()
	var w *tar.Writer
	add := func(name string, data []byte) {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(data))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		if i%5 == 0 {
			f, err := os.Create(filepath.Join(dir, fmt.Sprintf("s%d.tar", i/5)))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			w = tar.NewWriter(f)
			defer w.Close()
		}
		data, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("%d.png", i)))
		if err != nil {
			t.Fatal(err)
		}
		add(fmt.Sprintf("k%d.png", i), data)
		if i%9 > 0 {
			add(fmt.Sprintf("k%d.txt", i), fmt.Appendf(nil, "thing number %d", i))
		}
	}
}

// A mixture with shards in random order gives the same curves with 1, 2 and 8 workers, and killed and resumed; what falls
// out of it is counted once, by reason.
func TestAMixtureDependsOnNothingButTheSeed(t *testing.T) {
	dir := t.TempDir()
	gallery(t, dir, 60, func(i int) bool { return i%10 == 3 }, func(i int) bool { return i == 59 })
	shards(t, dir, 55)
	mixed := strings.NewReplacer("train: {dataset: emoji, with: {split: train}}", `max_bad_share: 0.5
  train:
    - {dataset: emoji, with: {split: train}, weight: 1, augment: random_resized_crop}
    - {dataset: csv, name: table, with: {file: t.csv}, weight: 1}
    - {dataset: webdataset, name: shards, with: {shards: ["s*.tar"]}, quota: 4, shuffle: global}`, "eval:\n", "eval: []\nignored:\n").Replace(tiny)
	at := strings.Index(mixed, "ignored:")
	mixed = mixed[:at] + mixed[strings.Index(mixed, "train:\n  batch_size"):]
	write(t, dir, "global.yaml", mixed)
	write(t, dir, "shards.yaml", strings.Replace(mixed, "shuffle: global", "shuffle: shards, shuffle_window: 7", 1))
	skips := func(id string) string {
		return must(t, dir, "query", "--csv", "select role, stage, reason, n from v_skips where run_id = '"+id+"' order by 1, 2, 3")
	}
	var all []string
	for _, name := range []string{"global.yaml", "shards.yaml"} {
		first := strings.TrimSpace(must(t, dir, "run", name, "-q", "--set", "data.workers=1"))
		want := curves(t, dir, first)
		all = append(all, want)
		for _, workers := range []string{"2", "8"} {
			id := strings.TrimSpace(must(t, dir, "run", name, "-q", "--set", "data.workers="+workers))
			if curves(t, dir, id) != want || skips(id) != skips(first) {
				t.Errorf("%s: %s workers give other curves than 1", name, workers)
			}
		}
		killAtCheckpoint(t, dir, command(t, dir, "run", name, "-q"))
		id := strings.TrimSpace(must(t, dir, "run", "--resume", "-q"))
		if curves(t, dir, id) != want {
			t.Errorf("%s: the curves of a run that was killed differ", name)
		}
		if got := skips(id); got != skips(first) {
			t.Errorf("%s: skips\n%sof a run that was killed\n%s", name, skips(first), got)
		}
		for _, want := range []string{"data.train.shards,refused,no caption,7\n", "data.train.table,refused,missing picture,1\n", "data.train.shards,replaced,corrupt picture,", "data.train.table,replaced,corrupt picture,"} {
			if !strings.Contains(skips(id), want) {
				t.Errorf("%s: the skips lack %q:\n%s", name, want, skips(id))
			}
		}
		sources := must(t, dir, "query", "--csv", "select source, plugin, seen from v_sources where run_id = '"+id+"' order by position")
		if want := "source,plugin,seen\nemoji,datasets/emoji,144\ntable,datasets/csv,144\nshards,datasets/webdataset,96\n"; strings.ReplaceAll(sources, "\r", "") != want {
			t.Errorf("%s: sources\n%swant\n%s", name, sources, want)
		}
		if shown := must(t, dir, "show", id); !strings.Contains(shown, "4 a batch") || !strings.Contains(shown, "missing picture") {
			t.Errorf("show tells nothing of sources and reasons:\n%s", shown)
		}
	}
	if all[0] == all[1] {
		t.Error("both orders give the same curves")
	}
	if peeked := try(t, dir, "data", "peek", "global.yaml", "-n", "6"); peeked.code != 0 || !strings.Contains(peeked.stdout, "shards/k") || !strings.Contains(peeked.stdout, "table/") {
		t.Errorf("peek: %s%s", peeked.stdout, peeked.stderr)
	}
}
