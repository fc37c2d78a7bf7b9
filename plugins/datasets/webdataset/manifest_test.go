package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestShardsThatWereBuiltAreNotedByTheirManifest(t *testing.T) {
	dir := t.TempDir()
	text := `{"format": "tandem shards 1", "digest": "sha256:12", "shards": [{"name": "a.tar"}, {"name": "b.tar"}]}`
	if err := os.WriteFile(filepath.Join(dir, "manifest.json"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	a, b := filepath.Join(dir, "a.tar"), filepath.Join(dir, "b.tar")
	notes, remarks := manifests([]string{a, b, "s3://x/c.tar"})
	if !slices.Equal(notes, []string{"manifest sha256:12"}) || len(remarks) > 0 {
		t.Errorf("%q, %q", notes, remarks)
	}
	if _, remarks = manifests([]string{a}); len(remarks) != 1 {
		t.Errorf("a shard short: %q", remarks)
	}
	if notes, remarks = manifests([]string{filepath.Join(t.TempDir(), "a.tar")}); len(notes)+len(remarks) > 0 {
		t.Errorf("without a manifest: %q, %q", notes, remarks)
	}
}
