package journal_test

import (
	"fmt"
	"os"
	"testing"

	"tandem/core/plugin/journal"
)

func TestATailHasWholeRecords(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, "loss", journal.DefaultLimit)
	for i := range 100 {
		fmt.Fprintf(j, "line %d\n", i)
	}
	j.Close()
	f, err := os.Open(journal.Path(dir, "loss"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		most int64
		n    int
		cut  bool
	}{{info.Size(), 100, false}, {info.Size() / 2, 49, true}, {10, 0, true}} {
		records, cut, err := journal.Tail(f, info.Size(), "plugin-loss.log", c.most)
		if err != nil || cut != c.cut || len(records) < c.n-1 || len(records) > c.n+1 {
			t.Errorf("%d bytes: %d records, cut %v, %v", c.most, len(records), cut, err)
		}
		if n := len(records); n > 0 && (records[n-1].Message != "line 99" || records[0].Role != "loss") {
			t.Errorf("%d bytes: from %+v to %+v", c.most, records[0], records[n-1])
		}
	}
}
