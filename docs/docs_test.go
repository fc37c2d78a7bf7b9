package docs_test

import (
	"strings"
	"testing"

	"tandem/core/results/store"
	"tandem/docs"
)

func TestEveryViewIsDescribed(t *testing.T) {
	described := map[string]docs.View{}
	for _, v := range docs.Views() {
		described[v.Name] = v
		if v.Text == "" || strings.ContainsAny(v.Text, "\n[") {
			t.Errorf("%s: %q", v.Name, v.Text)
		}
	}
	for _, v := range store.Views() {
		if described["v_"+v.Name].Text == "" {
			t.Errorf("docs/results.md does not describe v_%s", v.Name)
		}
	}
	if c := described["v_runs"].Columns; len(c) < 8 || !strings.Contains(c[0][0], "`run_id`") || c[0][1] == "" {
		t.Errorf("the columns of v_runs are %q", c)
	}
}

func TestTheTenQuestionsHaveTitles(t *testing.T) {
	all := docs.Questions()
	if len(all) != 10 {
		t.Fatalf("%d questions", len(all))
	}
	for _, q := range all {
		if q.Title == "" || q.Name == "" || !strings.HasPrefix(q.SQL, "SELECT") || strings.Contains(q.SQL, "```") {
			t.Errorf("%+v", q)
		}
	}
}
