package report

import (
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/text"

	"tandem/core/fault"
	"tandem/core/results/ablation"
)

// Where there is no terminal, running text is broken at readable, and other metrics are there as far as they fit into roomy.
const (
	readable = 110
	roomy    = 140
)

func ablationText(w io.Writer, t *ablation.Table) error {
	terminal, width := Terminal(w)
	return ablationTextAt(w, t, width, terminal && os.Getenv("NO_COLOR") == "")
}

// ablationTextAt writes for a width in characters, 0 for any.
func ablationTextAt(w io.Writer, t *ablation.Table, width int, colour bool) error {
	wrapAt := width
	if width <= 0 {
		wrapAt = readable
	}
	var b strings.Builder
	title := fault.PrintableLine(t.Name)
	if colour {
		title = text.Bold.Sprint(title)
	}
	if t.Description != "" {
		title += ": " + fault.Printable(t.Description)
	}
	fmt.Fprintf(&b, "%s\n%s\n\n", wrap(title, wrapAt), wrap(fault.PrintableLine(capital(headline(t))), wrapAt))
	for i, s := range sheets(t) {
		if i > 0 {
			b.WriteString("\n")
		}
		if s.Title != "" {
			fmt.Fprintln(&b, wrap(fault.PrintableLine(s.Title), wrapAt))
		}
		var left []string
		if width > 0 {
			left = s.narrow(width, math.MaxInt)
		} else {
			left = s.narrow(roomy, otherMetrics)
		}
		if len(s.Rows) > 0 {
			if err := sheetText(&b, s, width, colour); err != nil {
				return err
			}
		}
		for _, note := range append(left, s.Notes...) {
			fmt.Fprintln(&b, wrap(fault.PrintableLine(note), wrapAt))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func sheetText(w io.Writer, s sheet, width int, colour bool) error {
	columns, right, cells := make([]string, len(s.Columns)), make([]bool, len(s.Columns)), make([][]string, len(s.Rows))
	for j, c := range s.Columns {
		columns[j], right[j] = fault.PrintableLine(c.Name), c.Right
	}
	for i, l := range s.Rows {
		cells[i] = make([]string, len(s.Columns))
		for j, e := range l.Entries {
			cells[i][j] = entryText(e, colour)
		}
	}
	alignMarks(s, cells)
	shortenWords(s, cells, width)
	_, err := aligned(w, columns, cells, right, 0, colour)
	return err
}

// shortenWords shortens words, never numbers, while the sheet is wider than width.
func shortenWords(s sheet, cells [][]string, width int) {
	limits, sum := make([]int, len(s.Columns)), -2
	for j, c := range s.Columns {
		limits[j] = text.StringWidthWithoutEscSequences(c.Name)
		for _, row := range cells {
			limits[j] = max(limits[j], text.StringWidthWithoutEscSequences(row[j]))
		}
		sum += limits[j] + 2
	}
	for ; width > 0 && sum > width; sum-- {
		widest := -1
		for j, c := range s.Columns {
			if !c.Right && limits[j] > leastWidth && (widest < 0 || limits[j] > limits[widest]) {
				widest = j
			}
		}
		if widest < 0 {
			return
		}
		limits[widest]--
		for _, row := range cells {
			row[widest] = shorten(row[widest], limits[widest])
		}
	}
}

func entryText(e entry, colour bool) string {
	out := fault.PrintableLine(e.Text) + marksOf(e)
	if !colour {
		return out
	}
	var style text.Colors
	if e.Best {
		style = append(style, text.Bold)
	}
	switch e.Class {
	case "better":
		style = append(style, text.FgGreen)
	case "differs":
		style = append(style, text.FgYellow)
	case "worse":
		style = append(style, text.FgRed)
	case "unknown":
		style = append(style, text.Faint)
	}
	if len(style) == 0 {
		return out
	}
	return style.EscapeSeq() + out + text.Reset.EscapeSeq()
}

// marksOf writes the marks of an entry with a space before them.
func marksOf(e entry) string {
	marks := e.Marks
	if e.Best {
		marks = bestMark + marks
	}
	if marks == "" {
		return ""
	}
	return " " + marks
}

// alignMarks pads the entries of columns to the right, so that numbers stand below each other whether they are marked or not.
func alignMarks(s sheet, cells [][]string) {
	for j, c := range s.Columns {
		if !c.Right {
			continue
		}
		longest := 0
		for _, l := range s.Rows {
			longest = max(longest, len([]rune(marksOf(l.Entries[j]))))
		}
		for i, l := range s.Rows {
			if e := l.Entries[j]; e.Text != "" {
				cells[i][j] += strings.Repeat(" ", longest-len([]rune(marksOf(e))))
			}
		}
	}
}

// narrow leaves out columns with a spare under below until the sheet fits into width, and says in sentences what it left
// out: the words of a verdict by the rows that share them, other columns by their names.
func (s *sheet) narrow(width, below int) (said []string) {
	var gone []string
	for !fits(*s, width) {
		next := below
		for _, c := range s.Columns {
			if c.spare > 0 {
				next = min(next, c.spare)
			}
		}
		if next == below {
			break
		}
		first := slices.IndexFunc(s.Columns, func(c column) bool { return c.spare == next })
		if s.Columns[first].Name == "verdict" {
			said = append(said, byWords(*s, first)...)
		} else {
			name := s.Columns[first].Name
			gone = append(gone, name)
			s.Notes = slices.DeleteFunc(slices.Clone(s.Notes), func(note string) bool { return strings.HasPrefix(note, name+": ") })
		}
		for j := len(s.Columns) - 1; j >= first; j-- {
			if s.Columns[j].spare == next {
				s.drop(j)
			}
		}
	}
	const most = 4
	switch slices.Reverse(gone); {
	case len(gone) > most:
		said = append(said, fmt.Sprintf("Not shown for want of room: %d columns, %s, …", len(gone), strings.Join(gone[:most-1], ", ")))
	case len(gone) > 0:
		said = append(said, "Not shown for want of room: "+strings.Join(gone, ", ")+".")
	}
	return said
}

func fits(s sheet, width int) bool {
	sum := 0
	for j, c := range s.Columns {
		longest, marks := text.StringWidthWithoutEscSequences(c.Name), 0
		for _, l := range s.Rows {
			m := text.StringWidthWithoutEscSequences(marksOf(l.Entries[j]))
			n := text.StringWidthWithoutEscSequences(l.Entries[j].Text)
			if marks = max(marks, m); !c.Right {
				n += m
			}
			longest = max(longest, n)
		}
		if c.Right {
			longest += marks
		}
		if j == 0 {
			longest = min(longest, 2*leastWidth) // a name may be shortened before a column goes
		}
		sum += longest + 2
	}
	return sum-2 <= width
}

func (s *sheet) drop(j int) {
	s.Columns = slices.Delete(slices.Clone(s.Columns), j, j+1)
	rows := make([]line, len(s.Rows))
	for i, l := range s.Rows {
		rows[i] = line{l.Class, slices.Delete(slices.Clone(l.Entries), j, j+1)}
	}
	s.Rows = rows
}

// byWords lists, for each text in a column, the rows that have it.
func byWords(s sheet, words int) (said []string) {
	var order []string
	rows := map[string][]string{}
	name := slices.IndexFunc(s.Columns, func(c column) bool { return !c.Right })
	for _, l := range s.Rows {
		what := l.Entries[words].Text
		if what == "" {
			continue
		}
		if rows[what] == nil {
			order = append(order, what)
		}
		rows[what] = append(rows[what], l.Entries[name].Text)
	}
	for _, what := range order {
		said = append(said, capital(what)+": "+strings.Join(rows[what], ", ")+".")
	}
	return said
}

// wrap breaks a sentence into lines.
func wrap(s string, width int) string {
	lines := strings.Split(text.WrapSoft(s, width), "\n")
	for i, l := range lines {
		lines[i] = strings.TrimRight(l, " ")
	}
	return strings.Join(lines, "\n")
}
