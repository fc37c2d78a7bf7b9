package bundle

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"tandem/core/experiment/lab/labtest"
)

// Bundles share trials, so that a failure in one submission may not count in that of another bundle.
func TestSubmissionsHaveNumbersThatNoOtherBundleHas(t *testing.T) {
	root := t.TempDir()
	b := &Bundle{Dir: filepath.Join(root, "new")}
	for name, content := range map[string]string{"new/bundle.json": "{}", "old/bundle.json": "{}", "old/jobs/0003.json": "", "none/jobs/0009.json": ""} {
		path := filepath.Join(root, name)
		labtest.Must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		labtest.Must(t, os.WriteFile(path, []byte(content), 0o644))
	}
	round, err := b.NextRound()
	if err != nil || round != 4 {
		t.Fatalf("round %d, %v", round, err)
	}
	_, err = b.Submit(Submission{Round: round, Lease: 90}, func(*Submission) error { return nil })
	labtest.Must(t, err)
	if lease, err := b.Lease(); err != nil || lease != 90*time.Second {
		t.Errorf("the lease is %v, %v", lease, err)
	}
	if round, err := b.NextRound(); err != nil || round != 5 {
		t.Errorf("round %d, %v", round, err)
	}
}
