package report

import (
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"tandem/core/results/store"
)

// lines counts what is written to it and keeps nothing.
type lines struct{ n int }

func (l *lines) Write(p []byte) (int, error) {
	l.n += strings.Count(string(p), "\n")
	return len(p), nil
}

func TestRowsThatComeOneByOneAreNotKept(t *testing.T) {
	const rows = 4*portionRows + 1
	for _, format := range []Format{Text, CSV, JSON} {
		var out lines
		w, err := NewRowWriter(&out, format, []string{"number", "text"})
		if err != nil {
			t.Fatal(err)
		}
		held := func() uint64 {
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return m.HeapAlloc
		}
		before := held()
		row := []any{int64(0), ""}
		for i := range rows {
			row[0], row[1] = int64(i), strings.Repeat("x", 1000)
			if err := w.Add(row); err != nil {
				t.Fatal(err)
			}
			if i == rows-portionRows/2 {
				if now := held(); now > before+3*portionBytes/2 {
					t.Errorf("%s: %d bytes are held after %d rows", format, now-before, i)
				}
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if out.n < rows+1 {
			t.Errorf("%s: %d lines of %d rows", format, out.n, rows)
		}
	}
}

func TestLaterPortionsStandUnderTheFirst(t *testing.T) {
	var b strings.Builder
	w, err := NewRowWriter(&b, Text, []string{"n", "name"})
	if err != nil {
		t.Fatal(err)
	}
	for i := range portionRows + 2 {
		if err := w.Add([]any{int64(i), fmt.Sprint("run ", i)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	got := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	if len(got) != portionRows+4 || got[0] != "   n  name" || got[2] != "   0  run 0" || got[len(got)-1] != "10001  run 10001" || got[len(got)-3] != "9999  run 9999" {
		t.Errorf("%d lines: %q … %q", len(got), got[:3], got[len(got)-3:])
	}
}

func TestRunsOneByOneAreTheListOfAll(t *testing.T) {
	runs := []store.RunInfo{{ID: "a1", Experiment: "<x>", Seed: 3}, {ID: "b2", Experiment: "y", Status: "done"}}
	var got, want strings.Builder
	if err := Runs(&got, JSON, runs); err != nil {
		t.Fatal(err)
	}
	if err := Value(&want, runs); err != nil {
		t.Fatal(err)
	}
	if got.String() != want.String() {
		t.Errorf("got\n%swant\n%s", got.String(), want.String())
	}
	got.Reset()
	if err := Runs(&got, JSON, nil); err != nil || !json.Valid([]byte(got.String())) {
		t.Errorf("no runs: %q, %v", got.String(), err)
	}
}
