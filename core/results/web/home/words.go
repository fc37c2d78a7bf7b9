package home

import (
	"fmt"
	"html/template"
	"math"
	"strings"
	"time"

	"tandem/core/results/board"
	"tandem/core/results/report"
	"tandem/core/results/store"
)

// functions are what the templates of this package call beside those of the site.
var functions = template.FuncMap{
	"mark":  func(s any) string { return marks[board.State(fmt.Sprint(s))] },
	"ago":   func(t time.Time) string { return report.Duration(math.Round(ago(t, time.Now()))) },
	"share": share,
	"word":  shellWord,
	"state": stateOf,
	"dict":  dict,
}

// marks are the symbols of states: each has one of its own, so that no state is told by its colour alone.
var marks = map[board.State]string{
	board.Waiting: "·", board.Running: "▸", board.Done: "✓", board.Failed: "✗", board.Stopped: "■", board.Interrupted: "‖", board.Tainted: "!",
}

// stateOf returns the state of a run in a list.
func stateOf(r store.RunInfo) board.State {
	if r.Tainted && r.Status == string(board.Done) {
		return board.Tainted
	}
	return board.State(r.Status)
}

// dict names the values that a template hands to another.
func dict(pairs ...any) map[string]any {
	all := map[string]any{}
	for i := 0; i+1 < len(pairs); i += 2 {
		all[pairs[i].(string)] = pairs[i+1]
	}
	return all
}

// share returns a part of a whole in percent, for a bar.
func share(part, whole any) float64 {
	p, w := number(part), number(whole)
	if w <= 0 {
		return 0
	}
	return math.Round(1000*min(1, p/w)) / 10
}

func number(v any) float64 {
	switch v := v.(type) {
	case int:
		return float64(v)
	case int64:
		return float64(v)
	}
	return 0
}

// shellWord writes a word so that a shell takes it as it is.
func shellWord(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=./:,@%") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
