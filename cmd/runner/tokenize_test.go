package main_test

import (
	"encoding/json"
	"strings"
	"testing"
)

// The tokenizer that a spec learns is that of its runs; the texts are arguments or lines of stdin.
func TestTokenizeShowsWhatTheEncoderGets(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "s.yaml", tiny)
	var r struct {
		VocabSize     int `json:"vocab_size"`
		ContextLength int `json:"context_length"`
		Texts         []struct {
			Text   string
			Tokens []struct{ Piece string }
			Count  int
			Cut    bool
		}
	}
	long := "an emoji of " + strings.Repeat("cat ", 100)
	if err := json.Unmarshal([]byte(must(t, dir, "tokenize", "s.yaml", "an emoji", long, "--json")), &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Texts) != 2 || r.Texts[0].Text != "an emoji" || r.Texts[0].Cut || !r.Texts[1].Cut || r.Texts[1].Count <= r.ContextLength || r.ContextLength == 0 {
		t.Errorf("%+v", r)
	}
	c := command(t, dir, "tokenize", "--tokenizer", "clip")
	c.Stdin = strings.NewReader("a cat\n\na dog\n")
	out, err := c.Output()
	if err != nil || !strings.Contains(string(out), "a cat\n  4 tokens\n  49406 <start_of_text> · 320 a</w> · 2368 cat</w> · 49407 <end_of_text>\n") ||
		!strings.Contains(string(out), "\n\n  2 tokens\n") {
		t.Errorf("%v: %s", err, out)
	}
	for _, bad := range [][]string{{}, {"--tokenizer", "clip", "--set", "seed=1", "a"}, {"--tokenizer", "nothing.json", "a"}} {
		if r := try(t, dir, append([]string{"tokenize"}, bad...)...); r.code != 2 {
			t.Errorf("%v: exit code %d: %s", bad, r.code, r.stderr)
		}
	}
}
