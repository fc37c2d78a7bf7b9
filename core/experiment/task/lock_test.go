package task

import (
	"context"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"tandem/core/experiment/bundle"
	"tandem/core/experiment/ledger"
	"tandem/core/fault"
)

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
