package store

import (
	"bufio"
	"encoding/json"
	"flag"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/datasette.json")

// The metadata by which datasette shows a results database: the views described, and the ten questions.
type (
	datasette struct {
		Title       string                       `json:"title"`
		Description string                       `json:"description"`
		Databases   map[string]datasetteDatabase `json:"databases"`
	}
	datasetteDatabase struct {
		Tables  map[string]datasetteTable `json:"tables"`
		Queries map[string]datasetteQuery `json:"queries"`
	}
	datasetteTable struct {
		Description string `json:"description,omitempty"`
		Hidden      bool   `json:"hidden,omitempty"`
	}
	datasetteQuery struct {
		Title string `json:"title"`
		SQL   string `json:"sql"`
	}
)

// described returns the metadata that docs/results.md comes to. What the page asks of an example, datasette asks for.
func described(t *testing.T, db *DB) datasette {
	t.Helper()
	text, err := os.ReadFile("../../../docs/results.md")
	must(t, err)
	page := string(text)
	of := datasetteDatabase{map[string]datasetteTable{}, map[string]datasetteQuery{}}
	for name, sql := range documented(t) {
		title := regexp.MustCompile("(?m)^(.+):\n\n```sql " + name + "\n").FindStringSubmatch(page)
		if title == nil {
			t.Fatalf("docs/results.md does not say what %s asks", name)
		}
		sql = strings.NewReplacer("'pooling'", ":experiment", "'eval/emoji/top1'", ":metric").Replace(strings.TrimSuffix(strings.TrimSpace(sql), ";"))
		of.Queries[name] = datasetteQuery{strings.Trim(title[1], "*"), sql}
	}
	for _, v := range Views() {
		_, after, found := strings.Cut(page, "**`v_"+v.Name+"`** — ")
		about, _, _ := strings.Cut(after, "\n\n")
		if !found || !strings.HasPrefix(about, "one row per ") {
			t.Fatalf("docs/results.md does not describe v_%s", v.Name)
		}
		plain := regexp.MustCompile(`\[([^\]]+)\]\([^)]*\)`).ReplaceAllString(strings.Join(strings.Fields(about), " "), "$1")
		of.Tables["v_"+v.Name] = datasetteTable{Description: strings.ReplaceAll(plain, "`", "")}
	}
	tables, err := db.Query(ctx, "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view')")
	must(t, err)
	for _, row := range tables.Rows {
		if name := row[0].(string); of.Tables[name].Description == "" {
			of.Tables[name] = datasetteTable{Hidden: true} // no part of the interface
		}
	}
	return datasette{"tandem", "Runs of tandem; docs/results.md describes the views.", map[string]datasetteDatabase{"results": of}}
}

// docs/datasette.json is what docs/results.md says.
func TestTheMetadataForDatasetteIsThatOfThePage(t *testing.T) {
	const file = "../../../docs/datasette.json"
	db, _ := study(t)
	want, err := json.MarshalIndent(described(t, db), "", "  ")
	must(t, err)
	want = append(want, '\n')
	if *update {
		must(t, os.WriteFile(file, want, 0o644))
	}
	if have, err := os.ReadFile(file); err != nil || string(have) != string(want) {
		t.Errorf("docs/datasette.json is not what docs/results.md says (%v); run go test ./core/results/store -run Datasette -update", err)
	}
}

// Datasette itself, on loopback, answers the ten questions as SQLite does, and describes every view.
func TestPythonDatasetteAnswersTheTenQuestions(t *testing.T) {
	python := os.Getenv("TANDEM_TRACKERS")
	if python == "" {
		t.Skip("make test-python runs the tests with datasette")
	}
	db, ids := study(t)
	path := filepath.Join(t.TempDir(), "results.db")
	must(t, db.Snapshot(ctx, path))
	cmd := exec.Command(python, "-m", "datasette", "serve", path, "--metadata", "../../../docs/datasette.json", "--host", "127.0.0.1", "--port", "0")
	log, err := cmd.StderrPipe()
	must(t, err)
	must(t, cmd.Start())
	defer func() { _, _ = cmd.Process.Kill(), cmd.Wait() }()
	base, lines := "", bufio.NewScanner(log)
	for base == "" && lines.Scan() {
		if m := regexp.MustCompile(`http://127\.0\.0\.1:[0-9]+`).FindString(lines.Text()); m != "" {
			base = m
		}
	}
	if base == "" {
		t.Fatal("datasette did not start")
	}
	go func() { _, _ = io.Copy(io.Discard, log) }()
	get := func(at string) string {
		answer, err := http.Get(base + at)
		must(t, err)
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		must(t, err)
		if answer.StatusCode != http.StatusOK {
			t.Errorf("%s: %s\n%.300s", at, answer.Status, text)
		}
		return string(text)
	}
	given := map[string]string{"experiment": "pooling", "metric": "eval/emoji/top1", "a": ids["attention/0"], "b": ids["average/0"], "z": "sha-clip"}
	values := url.Values{"_shape": {"arrays"}}
	for name, v := range given {
		values.Set(name, v)
	}
	for name, q := range described(t, db).Databases["results"].Queries {
		var got struct{ Rows [][]any }
		must(t, json.Unmarshal([]byte(get("/results/"+name+".json?"+values.Encode())), &got))
		sql := q.SQL
		for parameter, v := range given {
			sql = regexp.MustCompile(`:`+parameter+`\b`).ReplaceAllString(sql, "'"+v+"'")
		}
		want, err := db.Query(ctx, sql)
		must(t, err)
		wanted, err := json.Marshal(want.Rows)
		must(t, err)
		var again [][]any
		must(t, json.Unmarshal(wanted, &again))
		a, _ := json.Marshal(got.Rows)
		b, _ := json.Marshal(again)
		if string(a) != string(b) || len(again) == 0 {
			t.Errorf("%s: datasette answers %s, SQLite %s", name, a, b)
		}
	}
	front := get("/results")
	for _, v := range Views() {
		if !strings.Contains(get("/results/v_"+v.Name), "one row per ") || !strings.Contains(front, "v_"+v.Name) {
			t.Errorf("datasette does not describe v_%s", v.Name)
		}
	}
}
