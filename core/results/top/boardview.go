package top

import (
	"cmp"
	"fmt"
	"io"
	"strconv"
	"strings"

	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/x/ansi"

	"tandem/core/fault"
	"tandem/core/results/board"
	"tandem/core/results/metric"
	"tandem/core/results/report"
)

// boardParts draws the board of an experiment.
func (m *model) boardParts() (head string, lines []string, at int, foot string) {
	head = bold.Render(fault.PrintableLine(m.experiment))
	foot = dim.Render("Enter opens the run · n next failure · Esc back · ? keys · q leaves")
	b := m.board
	if b == nil {
		return head, []string{"reading …"}, -1, foot
	}
	head += "  " + m.counts()
	if len(b.Rows) == 0 {
		return head, []string{"No cell is planned and no run is recorded yet."}, -1, foot
	}
	wide, cell := m.widths()
	shown := max(1, (m.width-wide-4)/(cell+1))
	first := max(0, min(m.col-shown/2, len(b.Seeds)-shown))
	last := min(first+shown, len(b.Seeds))
	top := "  " + pad(cmp.Or(metric.Short(b.Metric), "variant"), wide)
	for _, s := range b.Seeds[first:last] {
		top += " " + pad(strconv.FormatInt(s, 10), cell)
	}
	if last < len(b.Seeds) {
		top += fmt.Sprintf(" +%d", len(b.Seeds)-last)
	}
	lines = []string{dim.Render(top)}
	for i, r := range b.Rows {
		name := ansi.Truncate(fault.PrintableLine(cmp.Or(r.Variant, "(no variant)")), wide, "…")
		line := pad(name, wide)
		if r.Baseline {
			line = bold.Render(line)
		}
		for k := first; k < min(last, len(r.Cells)); k++ {
			text := pad(ansi.Truncate(cellText(b.Metric, &r.Cells[k]), cell, "…"), cell)
			if i == m.row && k == m.col {
				text = reversed.Render(text)
			} else {
				text = styled(r.Cells[k].State, text)
			}
			line += " " + text
		}
		mark := "  "
		if i == m.row {
			mark = "> "
		}
		lines = append(lines, mark+line)
	}
	if c := m.chosen(); c != nil && c.State != "" {
		foot = m.about(c)
	}
	return head, lines, m.row + 1, foot
}

// counts writes how many cells are in which state, and when the rest will be done.
func (m *model) counts() string {
	b := m.board
	var parts []string
	for _, s := range board.States {
		if n := b.Counts[s]; n > 0 {
			parts = append(parts, styled(s, fmt.Sprintf("%s %d %s", looks[s].sign, n, s)))
		}
	}
	text := strings.Join(parts, "  ")
	if left := remaining(b.Remaining); left != "" && b.Remaining > 0 {
		text += dim.Render("  " + left + " left")
	}
	return text
}

// widths returns the widths of the names of variants and of a cell.
func (m *model) widths() (name, cell int) {
	name, cell = lipgloss.Width(metric.Short(m.board.Metric)), 6
	for _, r := range m.board.Rows {
		name = max(name, lipgloss.Width(fault.PrintableLine(r.Variant)))
		for i := range r.Cells {
			cell = max(cell, lipgloss.Width(cellText(m.board.Metric, &r.Cells[i])))
		}
	}
	return max(8, min(name, m.width/3)), min(cell, 14)
}

// cellText writes a cell: the sign of its state, and its value or how far it is.
func cellText(metric string, c *board.Cell) string {
	sign := looks[c.State].sign
	switch {
	case c.State == "":
		return ""
	case c.State == board.Running && c.Steps > 0:
		return fmt.Sprintf("%s %d %%", sign, 100*c.Step/c.Steps)
	case c.State == board.Running:
		return fmt.Sprintf("%s %d", sign, c.Step)
	case c.Value != nil:
		return sign + " " + report.Metric(metric, float64(*c.Value))
	}
	return sign
}

// about tells more of the cell under the cursor.
func (m *model) about(c *board.Cell) string {
	r := m.board.Rows[m.row]
	text := fmt.Sprintf("%s seed %d: %s", fault.PrintableLine(cmp.Or(r.Variant, m.experiment)), c.Seed, c.State)
	if c.State == board.Running {
		text += fmt.Sprintf(", step %d", c.Step)
		if c.Steps > 0 {
			text += fmt.Sprintf(" of %d", c.Steps)
		}
		if left := remaining(c.Remaining); left != "" {
			text += ", " + left + " left"
		}
	}
	if c.Silent {
		text += ", silent since " + c.Updated.Local().Format("15:04:05")
		if c.Host != "" {
			text += " on " + fault.PrintableLine(c.Host)
		}
	}
	if c.Note != "" {
		text += ": " + fault.PrintableLine(c.Note)
	}
	if c.Run != "" {
		text += "  " + dim.Render("run "+c.Run)
	}
	return text
}

// Print writes a board once, as plain lines.
func Print(w io.Writer, b *board.Board) error {
	m := &model{board: b, width: 1 << 20, row: -1, col: -1}
	name, cell := m.widths()
	var out strings.Builder
	for _, s := range board.States {
		if n := b.Counts[s]; n > 0 {
			fmt.Fprintf(&out, "%d %s  ", n, s)
		}
	}
	text := strings.TrimRight(out.String(), " ")
	out.Reset()
	fmt.Fprintf(&out, "%s  %s\n%s", fault.PrintableLine(b.Name), text, pad("seed", name))
	for _, s := range b.Seeds {
		out.WriteString(" " + pad(strconv.FormatInt(s, 10), cell))
	}
	out.WriteString("\n")
	for _, r := range b.Rows {
		line := pad(fault.PrintableLine(cmp.Or(r.Variant, "(no variant)")), name)
		for i := range r.Cells {
			line += " " + pad(cellText(b.Metric, &r.Cells[i]), cell)
		}
		out.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	for _, r := range b.Rows {
		for _, c := range r.Cells {
			if c.Note != "" {
				fmt.Fprintf(&out, "%s seed %d %s: %s\n", fault.PrintableLine(cmp.Or(r.Variant, b.Name)), c.Seed, c.State, fault.PrintableLine(c.Note))
			}
		}
	}
	_, err := io.WriteString(w, out.String())
	return err
}
