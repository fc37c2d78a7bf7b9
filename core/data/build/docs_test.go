package build

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// The configurations of docs/data-build.md, which stand between ```yaml build and ```, are read without a fault.
func TestTheConfigurationsOfTheDocsAreRead(t *testing.T) {
	page, err := os.ReadFile("../../../docs/data-build.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := bytes.Split(page, []byte("```yaml build\n"))[1:]
	if len(blocks) < 2 {
		t.Fatalf("%d configurations", len(blocks))
	}
	for _, block := range blocks {
		text, _, _ := bytes.Cut(block, []byte("```"))
		file := filepath.Join(t.TempDir(), "build.yaml")
		if err := os.WriteFile(file, text, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(file); err != nil {
			t.Errorf("%v\n%s", err, text)
		}
	}
}
