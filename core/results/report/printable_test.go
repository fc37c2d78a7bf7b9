package report

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"strings"
	"testing"

	"tandem/core/results/store"
)

const evil = "a\x1b]0;pwned\a\u009b31m\u202eb\r\nc"

// A terminal gets escapes, a program gets the data.
func TestEscapeSequencesAreDataForProgramsOnly(t *testing.T) {
	rows := [][]any{{evil, 1}}
	var b bytes.Buffer
	for _, w := range []func() error{
		func() error { return Rows(&b, Text, []string{"na\x1bme", "n"}, rows) },
		func() error { return writeRecords(&b, []string{"name"}, [][]string{{cell(evil)}}, 0, 1) },
		func() error { return Rows(&b, JSON, []string{"name", "n"}, rows) },
		func() error { return Value(&b, map[string]string{"name": evil}) },
		func() error {
			return Show(&b, Text, &store.RunDetail{RunInfo: store.RunInfo{ID: "1", Experiment: evil},
				Error: &store.Failure{Kind: "invalid", Message: evil, Hint: evil, Detail: evil}, Events: []store.Event{{Message: evil}}})
		},
	} {
		b.Reset()
		if err := w(); err != nil {
			t.Fatal(err)
		}
		if strings.ContainsAny(b.String(), "\x1b\a\r\u009b\u202e") {
			t.Errorf("raw: %q", b.String())
		}
	}
	b.Reset()
	var got []struct{ Name string }
	if err := Rows(&b, JSON, []string{"name", "n"}, rows); err != nil || json.Unmarshal(b.Bytes(), &got) != nil || got[0].Name != evil {
		t.Errorf("JSON gives %q (%v)", got, err)
	}
	b.Reset()
	if err := Rows(&b, CSV, []string{"name", "n"}, [][]any{{"a\x1b\"b,\nc", 1}}); err != nil {
		t.Fatal(err)
	}
	if all, err := csv.NewReader(&b).ReadAll(); err != nil || all[1][0] != "a\x1b\"b,\nc" {
		t.Errorf("CSV gives %q (%v)", all, err)
	}
}

// What others named cannot end a cell, a line or a formula of the table that it stands in.
func TestMarkupEscapesNames(t *testing.T) {
	if got, want := markdown("a|b*_\x1b&lt;\n$x$"), `a|b\*\_\\x1b&amp;lt;\\n\$x\$`; got != want {
		t.Errorf("Markdown %s, want %s", got, want)
	}
	if got, want := latex(`50% & \input{x} #1_2^3 "q"`+"\n"), `50\% \& \textbackslash{}input\{x\} \#1\_2\textasciicircum{}3 ''q''\textbackslash{}n`; got != want {
		t.Errorf("LaTeX %s, want %s", got, want)
	}
}
