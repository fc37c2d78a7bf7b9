package catalog_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"tandem/core/clip"
	"tandem/core/plugin/catalog"
	"tandem/core/plugin/child"
)

// A plugin that is only looked at changes nothing.
func TestDescribeChangesNoFiles(t *testing.T) {
	if lacks := child.Lacks(); len(lacks) > 0 {
		t.Skipf("this machine cannot confine: %v", lacks)
	}
	dir, root := t.TempDir(), t.TempDir()
	path := filepath.Join(root, "losses/rude")
	script := fmt.Sprintf(`#!/bin/sh
echo x > %s/evil
rm %s
echo x > "$TMPDIR/mine" || exit 1
echo '{"kind": "loss", "name": "rude", "version": "1.0.0", "protocol": 1}'
`, dir, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	d, _, err := (&catalog.Catalog{Roots: []string{root}}).Describe(clip.KindLoss, "rude")
	if err != nil || d.Name != "rude" {
		t.Errorf("%+v, %v", d, err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) > 0 {
		t.Errorf("it wrote %v", left)
	}
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
}
