package journal_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tandem/core/plugin/journal"
)

func open(t *testing.T, dir, role string, limit int64) *journal.Journal {
	t.Helper()
	j, err := journal.Open(journal.Path(dir, role), "losses/clip", role, limit)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	return j
}

func next(t *testing.T, r *journal.Reader) []journal.Record {
	t.Helper()
	records, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	return records
}

func TestLinesBecomeRecordsWithLevels(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, "loss", journal.DefaultLimit)
	said := []struct{ text, level, message string }{
		{"loading", "info", "loading"},
		{`{"@level":"warn","@message":"slow","@module":"x","step":3}`, "warn", "slow"},
		{"10%\r20%\r100%", "info", "100%"},
		{"WARNING:root:careful", "warn", "WARNING:root:careful"},
		{"model.py:3: UserWarning: odd", "warn", "model.py:3: UserWarning: odd"},
		{"Traceback (most recent call last):", "error", "Traceback (most recent call last):"},
		{`  File "model.py", line 3, in forward`, "error", `  File "model.py", line 3, in forward`},
		{"ValueError: no", "error", "ValueError: no"},
		{"going on", "info", "going on"},
		{"panic: as asked", "error", "panic: as asked"},
		{"goroutine 1 [running]:", "error", "goroutine 1 [running]:"},
		{"main.main()", "error", "main.main()"},
		{"a line that is not ended", "info", "a line that is not ended"},
	}
	for i, s := range said {
		for part := range strings.SplitAfterSeq(s.text, "%") { // as they come
			if _, err := j.Write([]byte(part)); err != nil {
				t.Fatal(err)
			}
		}
		if i < len(said)-1 {
			_, _ = j.Write([]byte("\n"))
		}
	}
	j.Close()
	records := next(t, journal.NewReader(dir))
	if len(records) != len(said) {
		t.Fatalf("%d records, want %d: %+v", len(records), len(said), records)
	}
	for i, r := range records {
		if r.Level != said[i].level || r.Message != said[i].message || r.Plugin != "losses/clip" || r.Role != "loss" || r.Time.IsZero() {
			t.Errorf("%q became %+v", said[i].text, r)
		}
	}
	if fmt.Sprint(records[1].Fields) != "map[step:3]" {
		t.Errorf("fields are %v", records[1].Fields)
	}
}

// However much is written, the file keeps its size, whole records, and its beginning and end.
func TestAFloodIsCutInTheMiddle(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, "loss", 100<<10)
	reader := journal.NewReader(dir)
	read := 0
	for i := range 4000 {
		fmt.Fprintf(j, "line %d\n", i)
		if i == 100 {
			read = len(next(t, reader))
		}
	}
	_, _ = j.Write(bytes.Repeat([]byte("x"), 64<<10))
	fmt.Fprintf(j, "\nlast\n")
	j.Close()
	text, err := os.ReadFile(journal.Path(dir, "loss"))
	if err != nil || len(text) > 100<<10 || len(text) < 25<<10 {
		t.Errorf("%d bytes, %v", len(text), err)
	}
	gaps := 0
	for line := range strings.Lines(string(text)) {
		var r journal.Record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%.80q: %v", line, err)
		}
		if strings.Contains(r.Message, "were left out here") {
			gaps++
		}
	}
	all := next(t, journal.NewReader(dir))
	if gaps != 1 || all[0].Message != "line 0" || all[len(all)-1].Message != "last" {
		t.Errorf("%d gaps, from %+v to %+v", gaps, all[0], all[len(all)-1])
	}
	// Who read the beginning before gets the rest once.
	rest := next(t, reader)
	for _, r := range rest {
		if r.Message == "line 100" || r.Message == "line 0" {
			t.Errorf("%q came twice", r.Message)
		}
	}
	if read != 101 || rest[len(rest)-1].Message != "last" {
		t.Errorf("read %d, then to %q", read, rest[len(rest)-1].Message)
	}
}

func TestSeveralJournalsAreReadByTime(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "[logs]*")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	a, b := open(t, dir, "image", 1<<20), open(t, dir, "eval/x", 1<<20)
	for i := range 6 {
		fmt.Fprintf([]*journal.Journal{a, b}[i%2], "%d\n", i)
	}
	if err := os.WriteFile(filepath.Join(dir, "plugin-old.log"), []byte("of an older tandem\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	got := ""
	for _, r := range next(t, journal.NewReader(dir)) {
		got += r.Role + " " + r.Message + ";"
	}
	if want := "old of an older tandem;image 0;eval/x 1;image 2;eval/x 3;image 4;eval/x 5;"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
