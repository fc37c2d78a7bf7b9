package top

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/x/ansi"

	"tandem/core/clip"
	"tandem/core/results/board"
	"tandem/core/results/store"
	"tandem/core/results/store/storetest"
)

// viewer drives a model as the terminal would, without waiting.
type viewer struct {
	t *testing.T
	m *model
}

// newViewer opens a terminal of 100 by 30 on a database.
func newViewer(t *testing.T, db *store.DB, experiment string) *viewer {
	v := &viewer{t, newModel(t.Context(), db, Options{Name: "results.db", Experiment: experiment})}
	v.send(tea.WindowSizeMsg{Width: 100, Height: 30})
	v.do(v.m.load())
	return v
}

func (v *viewer) send(msg tea.Msg) {
	_, cmd := v.m.Update(msg)
	v.do(cmd)
}

// do runs a command and tells the model what comes of it.
func (v *viewer) do(cmd tea.Cmd) {
	if cmd == nil {
		return
	}
	if msg := cmd(); msg != nil {
		v.send(msg)
	}
}

func (v *viewer) press(keys ...rune) {
	for _, k := range keys {
		key := tea.KeyPressMsg{Code: k}
		if k > ' ' && k < 0x7f {
			key.Text = string(k)
		}
		v.send(key)
	}
}

// wants demands texts on the screen.
func (v *viewer) wants(texts ...string) {
	v.t.Helper()
	screen := ansi.Strip(v.m.draw())
	for _, text := range texts {
		if !strings.Contains(screen, text) {
			v.t.Errorf("%q is not on the screen:\n%s", text, screen)
		}
	}
}

func newDB(t *testing.T) *store.DB {
	t.Helper()
	db, err := store.Open(filepath.Join(t.TempDir(), "results.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// filled has an experiment of 60 cells: one failed run that was made again, one stopped early, one interrupted, one missing.
func filled(t *testing.T) *store.DB {
	db := newDB(t)
	if err := storetest.Fill(context.Background(), db, storetest.Size{Runs: 60, Metrics: 3, Points: 4}, nil); err != nil {
		t.Fatal(err)
	}
	return db
}

func TestEnterOpensTheBoardAndTheRunAndEscGoesBack(t *testing.T) {
	v := newViewer(t, filled(t), "")
	v.wants("study-000", "grid")
	v.press(tea.KeyEnter)
	v.wants("width=0,loss=0", "✓", "done", "waiting", "seed 0: done")
	v.press(tea.KeyEnter)
	v.wants("Run ", storetest.Metric, "best")
	v.press(tea.KeyEscape)
	v.wants("width=0,loss=0")
	v.press(tea.KeyEscape)
	v.wants("Experiments")
}

func TestNGoesToTheNextCellThatNeedsAPerson(t *testing.T) {
	v := newViewer(t, filled(t), storetest.Experiment(0))
	v.press('n')
	if c := v.m.chosen(); c == nil || c.State != board.Interrupted {
		t.Errorf("n goes to %+v, want the interrupted cell", c)
	}
}

func TestTheCursorStaysInsideTheBoard(t *testing.T) {
	v := newViewer(t, filled(t), storetest.Experiment(0))
	v.press(tea.KeyUp, tea.KeyLeft, tea.KeyEnd)
	for range 40 {
		v.press(tea.KeyRight)
	}
	if v.m.chosen() == nil {
		t.Errorf("row %d, column %d of a board of %d × %d", v.m.row, v.m.col, len(v.m.board.Rows), len(v.m.board.Seeds))
	}
}

// TestNoLineIsWiderThanTheTerminal also holds with names that a terminal would obey, and with wide characters.
func TestNoLineIsWiderThanTheTerminal(t *testing.T) {
	const hostile = "\x1b[2J\x1b]0;title\x07 宽字符宽字符 \u202eabc\n<script>"
	db := newDB(t)
	ctx := t.Context()
	var cells []store.Cell
	for seed := range 12 {
		cells = append(cells, store.Cell{Variant: "v" + hostile, Seed: int64(seed)})
	}
	if err := db.Plan(ctx, store.Experiment{Name: hostile, Metric: "eval/x/top1", Design: "grid"}, cells); err != nil {
		t.Fatal(err)
	}
	run, err := db.Begin(ctx, store.RunMeta{Experiment: hostile, Variant: "v" + hostile, Device: hostile, Spec: "x"})
	if err != nil {
		t.Fatal(err)
	}
	if err := run.Event("warning", hostile, hostile, hostile); err != nil {
		t.Fatal(err)
	}
	if err := run.Finish(ctx, clip.StatusFailed, nil); err != nil {
		t.Fatal(err)
	}
	for _, width := range []int{10, 33, 80, 200} {
		v := newViewer(t, db, "")
		v.send(tea.WindowSizeMsg{Width: width, Height: 12})
		for _, key := range []rune{0, tea.KeyEnter, tea.KeyEnter, '?'} {
			if key != 0 {
				v.press(key)
			}
			screen := v.m.draw()
			if strings.ContainsAny(ansi.Strip(screen), "\x1b\x07\u202e") || strings.Contains(screen, "\x1b[2J") {
				t.Errorf("width %d: the terminal would obey %q", width, screen)
			}
			lines := strings.Split(screen, "\n")
			if len(lines) > 12 {
				t.Errorf("width %d: %d lines on a screen of 12", width, len(lines))
			}
			for _, l := range lines {
				if w := lipgloss.Width(l); w > width {
					t.Errorf("width %d: a line of %d: %q", width, w, l)
				}
			}
		}
	}
}

func TestAPrintedBoardNamesWhyCellsFailed(t *testing.T) {
	db := filled(t)
	b, err := board.Read(t.Context(), db, storetest.Experiment(0))
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := Print(&out, b); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"study-000", "1 interrupted", "1 stopped", "width=0,loss=0", "✓ "} {
		if !strings.Contains(out.String(), text) {
			t.Errorf("%q is not in\n%s", text, out.String())
		}
	}
}
