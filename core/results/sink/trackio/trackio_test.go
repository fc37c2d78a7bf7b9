package trackio

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/results/sink"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(fault.Format(err))
	}
}

// read returns what a database has of a run: "step metrics" of each row, in order, and the config.
func read(t *testing.T, path, run string) (rows []string, config map[string]any) {
	t.Helper()
	db, err := sql.Open("sqlite3", path)
	check(t, err)
	defer db.Close()
	found, err := db.Query("SELECT step, typeof(metrics), metrics FROM metrics WHERE run_id = ? ORDER BY id", run)
	check(t, err)
	defer found.Close()
	for found.Next() {
		var step int
		var kind, text string
		check(t, found.Scan(&step, &kind, &text))
		if kind != "blob" {
			t.Errorf("metrics are of type %s, trackio's are blobs", kind)
		}
		rows = append(rows, fmt.Sprint(step, " ", text))
	}
	var text []byte
	check(t, db.QueryRow("SELECT config FROM configs WHERE run_id = ?", run).Scan(&text))
	check(t, json.Unmarshal(text, &config))
	return rows, config
}

func write(t *testing.T, dir string, r sink.Run, from, to int, name string, value float64) {
	t.Helper()
	w := New(Settings{Dir: dir})
	newest, err := w.Open(t.Context(), r)
	check(t, err)
	if got := newest(name); got != r.From {
		t.Errorf("the newest step is %d, want %d", got, r.From)
	}
	for step := from; step <= to; step++ {
		check(t, w.Write(t.Context(), []sink.Points{{At: time.Now(), Step: step, Values: []clip.Metric{{Name: name, Value: value}}}}))
	}
	check(t, w.End(t.Context(), sink.End{Status: clip.StatusDone}))
	check(t, w.Close())
}

func TestARunThatGoesOnReplacesWhatIsBeyondItsCheckpoint(t *testing.T) {
	dir := t.TempDir()
	r := sink.Run{ID: "0abcdefgh1", Experiment: "my.study", Variant: "loss=clip", Seed: 3, From: -1, Params: map[string]any{"train.lr": 0.1, "big": math.Inf(1)}}
	other := r
	other.ID = "0abcdefgh2"
	write(t, dir, other, 1, 3, "a", 7)
	write(t, dir, r, 1, 5, "a", 0.1)
	r.From = 2
	write(t, dir, r, 3, 4, "a", 0.2)
	path := filepath.Join(dir, "mystudy.db")
	rows, config := read(t, path, r.ID)
	if got, want := strings.Join(rows, "\n"), "1 {\"a\":0.1}\n2 {\"a\":0.1}\n3 {\"a\":0.2}\n4 {\"a\":0.2}"; got != want {
		t.Errorf("the rows are\n%s\nwant\n%s", got, want)
	}
	if config["train.lr"] != 0.1 || config["big"] != "Infinity" || config["tandem_run"] != r.ID || config["_Group"] != "loss=clip" || config["status"] != "done" {
		t.Errorf("the config is %v", config)
	}
	if rows, _ := read(t, path, other.ID); len(rows) != 3 {
		t.Errorf("the other run has %d rows", len(rows))
	}
}

func TestNamesAndNumbersAreThoseOfJSON(t *testing.T) {
	values := []clip.Metric{{Name: "step", Value: 1}, {Name: "__x", Value: math.Copysign(0, -1)}, {Name: "<b>\"\x1b\xff", Value: math.NaN()}, {Name: "i", Value: math.Inf(-1)}, {Name: "t", Value: 5e-324}, {Name: "p", Value: 1.0 / 3}}
	got := string(appendMetrics(nil, values))
	want := `{"__step":1.0,"____x":-0.0,"\u003cb\u003e\"\u001b�":"NaN","i":"-Infinity","t":5e-324,"p":0.3333333333333333}`
	if got != want || !json.Valid([]byte(got)) {
		t.Errorf("metrics are %s, want %s", got, want)
	}
}

func TestOtherSchemasAreLeftAlone(t *testing.T) {
	for version, want := range map[int]string{1: "of an old trackio", 3: "of a newer trackio"} {
		dir := t.TempDir()
		db, err := sql.Open("sqlite3", filepath.Join(dir, "x.db"))
		check(t, err)
		_, err = db.Exec(fmt.Sprintf("CREATE TABLE metrics (other TEXT); PRAGMA user_version = %d", version))
		check(t, err)
		check(t, db.Close())
		w := New(Settings{Dir: dir})
		if _, err := w.Open(t.Context(), sink.Run{Experiment: "x"}); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("schema %d: %v", version, err)
		}
	}
}

func TestProjectsThatTrackioKeepsForItselfAreRefused(t *testing.T) {
	for project, want := range map[string]string{"a.b c": "abc.db", "...": "default.db", "_system": "_system.db", "x_system": "", "registry-x": "", "../../up": "up.db"} {
		if got, err := fileName(project); got != want || (err == nil) != (want != "") {
			t.Errorf("%q is %q, %v; want %q", project, got, err, want)
		}
	}
}

func TestTrialsAtTheSameTimeShareADatabase(t *testing.T) {
	dir := t.TempDir()
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() { write(t, dir, sink.Run{ID: fmt.Sprint("run", i), Experiment: "x", From: -1}, 1, 20, "a", 1) })
	}
	all.Wait()
	for i := range 4 {
		if rows, _ := read(t, filepath.Join(dir, "x.db"), fmt.Sprint("run", i)); len(rows) != 20 {
			t.Errorf("run %d has %d rows", i, len(rows))
		}
	}
}
