package main_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The evaluation has one picture of the training data under another name, and the table one picture twice.
func TestDescribeFindsWhatIsThereTwice(t *testing.T) {
	dir := t.TempDir()
	rows := map[string]string{"train": "image,caption\n", "eval": "image,caption\n"}
	for i := range 8 {
		name := fmt.Sprintf("p%d.png", i)
		square(t, filepath.Join(dir, name), uint8(30*i))
		set := "train"
		if i > 5 {
			set = "eval"
		}
		rows[set] += fmt.Sprintf("%s,a square of the number %d\n", name, i)
	}
	for _, again := range []struct{ from, to, set string }{{"p1.png", "q1.png", "train"}, {"p2.png", "q2.png", "eval"}} {
		data, err := os.ReadFile(filepath.Join(dir, again.from))
		if err != nil {
			t.Fatal(err)
		}
		write(t, dir, again.to, string(data))
		rows[again.set] += again.to + ",again\n"
	}
	write(t, dir, "t.csv", rows["train"])
	write(t, dir, "e.csv", rows["eval"])
	write(t, dir, "s.yaml", strings.NewReplacer("{dataset: emoji, with: {split: train}}", "{dataset: csv, with: {file: t.csv}}",
		"{dataset: emoji, with: {split: test}, zero_shot: {classes: label, templates: [\"an emoji of {}\"]}, retrieval: true, max_samples: 40}",
		"{name: e, dataset: csv, with: {file: e.csv}, retrieval: true}").Replace(tiny))
	var r struct {
		Sets []struct {
			Name    string
			Samples int
			Looked  int `json:"looked_at"`
			Widths  struct{ Min, Max float64 }
			Tokens  struct{ Count int }
			Exact   struct{ Extra int } `json:"exact_duplicates"`
		}
		Leakage []struct {
			Exact    int
			Examples []struct{ A, B struct{ Key string } }
		}
	}
	if err := json.Unmarshal([]byte(must(t, dir, "data", "describe", "s.yaml", "--json", "--html", "page.html")), &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Sets) != 2 || r.Sets[0].Samples != 7 || r.Sets[0].Looked != 7 || r.Sets[0].Exact.Extra != 1 || r.Sets[0].Widths.Max != 16 || r.Sets[0].Tokens.Count != 7 {
		t.Errorf("%+v", r.Sets)
	}
	if len(r.Leakage) != 1 || r.Leakage[0].Exact != 1 || r.Leakage[0].Examples[0].A.Key != "p2.png" || r.Leakage[0].Examples[0].B.Key != "q2.png" {
		t.Errorf("%+v", r.Leakage)
	}
	page, err := os.ReadFile(filepath.Join(dir, "page.html"))
	if err != nil || strings.Count(string(page), "<img") < 4 {
		t.Errorf("the page has %d pictures (%v)", strings.Count(string(page), "<img"), err)
	}
	out := must(t, dir, "data", "describe", "--dataset", "csv", "--with", "file=e.csv", "-n", "2")
	if !strings.Contains(out, "3; looked at 2 (66.7 %)") || !strings.Contains(out, "over the context of 77") {
		t.Errorf("%s", out)
	}
	for _, bad := range [][]string{{}, {"s.yaml", "--dataset", "csv"}, {"s.yaml", "--with", "a=b"}, {"s.yaml", "--near", "17"}} {
		if r := try(t, dir, append([]string{"data", "describe"}, bad...)...); r.code != 2 {
			t.Errorf("%v: exit code %d: %s", bad, r.code, r.stderr)
		}
	}
}
