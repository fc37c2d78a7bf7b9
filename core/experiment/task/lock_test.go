package task

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tandem/core/experiment/bundle"
	"tandem/core/experiment/lab/labtest"
	"tandem/core/experiment/ledger"
	"tandem/core/fault"
)

// Bundles of one folder merge one after another, however short the leases of one of them are.
func TestMergesOfBundlesWithOtherLeasesWait(t *testing.T) {
	l := labtest.New(t)
	b := freeze(t, l, labtest.Text)
	holder := ledger.Ledger{Dir: b.Root()}.FilePath(merging, 1, ".lease")
	must(t, os.MkdirAll(filepath.Dir(holder), 0o755))
	must(t, os.WriteFile(holder, []byte("{}\n"), 0o644))
	long := time.Now().Add(-ledger.DefaultExpiry / 2)
	must(t, os.Chtimes(holder, long, long))
	ctx, end := context.WithCancel(t.Context())
	m := MergeOptions{Expiry: 10 * time.Second}
	m.Waiting = func(string) { end() }
	if _, err := Merge(ctx, b, l.DB, m, ledger.Owner{PID: 8}); fault.KindOf(err) != fault.Canceled {
		t.Errorf("it did not wait: %v", err)
	}
}

func TestOneSubmitsAtATime(t *testing.T) {
	b := &bundle.Bundle{Dir: filepath.Join(t.TempDir(), "a")}
	first, err := Submitting(t.Context(), b, ledger.Owner{Host: "h", PID: 7}, nil)
	must(t, err)
	ended, stop := context.WithCancel(t.Context())
	if _, err := Submitting(ended, b, ledger.Owner{PID: 8}, func(string) { stop() }); fault.KindOf(err) != fault.Canceled {
		t.Errorf("the second one: %v", err)
	}
	var let atomic.Bool
	second, err := Submitting(t.Context(), b, ledger.Owner{PID: 9}, func(message string) {
		if !strings.Contains(message, "process 7 on h submits just now") {
			t.Error(message)
		}
		let.Store(true)
		first()
	})
	must(t, err)
	if !let.Load() {
		t.Error("it did not wait")
	}
	second()
}
