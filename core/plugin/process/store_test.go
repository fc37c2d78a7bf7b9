package process_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"tandem/core/plugin/process"
)

// The keys of stores reach the datasets, and nobody else.
func TestKeysOfStoresReachDatasetsAlone(t *testing.T) {
	t.Setenv("AWS_SECRET_ACCESS_KEY", "geheim")
	t.Setenv("https_proxy", "http://proxy.example.org:3128")
	t.Setenv("UNRELATED", "geheim")
	s := session(t, process.SessionOptions{})
	sees := func(p *process.Process, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", p.PID()))
		if err != nil {
			t.Skipf("what a process was given is not told here: %v", err)
		}
		var seen []string
		for _, name := range []string{"AWS_SECRET_ACCESS_KEY=geheim", "https_proxy=", "UNRELATED="} {
			if strings.Contains("\x00"+string(env), "\x00"+name) {
				seen = append(seen, name)
			}
		}
		return strings.Join(seen, " ")
	}
	_, data, err := s.StartDataset(t.Context(), "count", process.StartOptions{Label: "data"})
	if got := sees(data, err); got != "AWS_SECRET_ACCESS_KEY=geheim https_proxy=" {
		t.Errorf("a dataset sees %q", got)
	}
	_, loss, err := s.StartLoss(t.Context(), "dot", process.StartOptions{Label: "loss"})
	if got := sees(loss, err); got != "" {
		t.Errorf("a loss sees %q", got)
	}
	if len(process.Unconfined()) > 0 {
		return
	}
	_, stranger, err := s.StartDataset(t.Context(), "count", process.StartOptions{Label: "stranger", Guard: process.Guard{Strict: true}, Files: t.TempDir()})
	if got := sees(stranger, err); got != "" {
		t.Errorf("a dataset in the sandbox sees %q", got)
	}
}
