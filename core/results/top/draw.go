package top

import (
	"errors"
	"fmt"
	"image/color"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/x/ansi"

	"tandem/core/fault"
	"tandem/core/results/board"
	"tandem/core/results/report"
)

var (
	bold     = lipgloss.NewStyle().Bold(true)
	dim      = lipgloss.NewStyle().Faint(true)
	reversed = lipgloss.NewStyle().Reverse(true)
	warning  = lipgloss.NewStyle().Foreground(lipgloss.Yellow)
)

// looks gives each state a sign and a colour; the sign tells the states apart where there is no colour.
var looks = map[board.State]struct {
	sign   string
	colour color.Color
}{
	board.Waiting: {"·", nil}, board.Running: {"▶", lipgloss.Cyan}, board.Done: {"✓", lipgloss.Green}, board.Failed: {"✗", lipgloss.Red},
	board.Stopped: {"■", lipgloss.Blue}, board.Interrupted: {"‖", lipgloss.Yellow}, board.Tainted: {"!", lipgloss.Magenta},
}

// styled writes a text in the colour of a state.
func styled(s board.State, text string) string {
	if c := looks[s].colour; c != nil {
		return lipgloss.NewStyle().Foreground(c).Render(text)
	}
	return text
}

// View implements tea.Model.
func (m *model) View() tea.View {
	v := tea.NewView(m.draw())
	v.AltScreen, v.WindowTitle = true, "tandem "+fault.PrintableLine(m.experiment)
	return v
}

// room returns how many lines there are between head and foot.
func (m *model) room() int { return max(1, m.height-4) }

// draw returns the lines of the screen, none longer than it is wide.
func (m *model) draw() string {
	head, lines, at, foot := m.listParts()
	switch {
	case m.help:
		head, lines, at, foot = "Keys", strings.Split(helpText, "\n"), -1, "any key: back"
	case m.screen == boardScreen:
		head, lines, at, foot = m.boardParts()
	case m.screen == runScreen:
		head, lines, at, foot = m.runParts()
	}
	room := m.room()
	lines = window(lines, at, room)
	for len(lines) < room {
		lines = append(lines, "")
	}
	name := dim.Render(fault.PrintableLine(m.o.Name) + "  " + time.Now().Format("15:04:05"))
	gap := m.width - lipgloss.Width(head) - lipgloss.Width(name)
	if gap >= 2 {
		head += strings.Repeat(" ", gap) + name
	}
	if m.err != nil {
		foot = warning.Render(firstLine(m.err))
	}
	all := append([]string{head, ""}, lines...)
	all = append(all, "", foot)
	for i, l := range all {
		all[i] = ansi.Truncate(l, m.width, "…")
	}
	return strings.Join(all[:min(len(all), m.height)], "\n")
}

// window returns so many of the lines, with the one at the cursor among them. The first stays: it is the heading.
func window(lines []string, at, room int) []string {
	if len(lines) <= room || room < 2 {
		return lines[:min(len(lines), room)]
	}
	first := max(1, min(at-room/2, len(lines)-(room-1)))
	return append([]string{lines[0]}, lines[first:first+room-1]...)
}

func firstLine(err error) string {
	text := err.Error()
	if f := new(fault.Error); errors.As(err, &f) && f.Hint != "" {
		text += " (" + f.Hint + ")"
	}
	return fault.PrintableLine(text)
}

// listParts draws the list of experiments.
func (m *model) listParts() (head string, lines []string, at int, foot string) {
	head, foot = bold.Render("Experiments"), dim.Render("Enter opens · ? keys · q leaves")
	if !m.read {
		return head, []string{"reading …"}, -1, foot
	}
	if len(m.list) == 0 {
		return head, []string{"No experiment is recorded yet."}, -1, foot
	}
	wide := 0
	for _, o := range m.list {
		wide = max(wide, lipgloss.Width(fault.PrintableLine(o.Name)))
	}
	wide = min(wide, max(10, m.width-42))
	lines = []string{dim.Render(fmt.Sprintf("  %s  %-15s %6s %5s  %s", pad("experiment", wide), "design", "cells", "done", ""))}
	for i, o := range m.list {
		line := fmt.Sprintf("%s  %-15s %6d %5d  %s", pad(ansi.Truncate(fault.PrintableLine(o.Name), wide, "…"), wide), fault.PrintableLine(o.Design), o.Cells, o.Done, bar(o.Done, o.Cells, 10))
		if i == m.at {
			line = "> " + reversed.Render(line)
		} else {
			line = "  " + line
		}
		lines = append(lines, line)
	}
	return head, lines, m.at + 1, foot
}

// bar draws what part of n is done.
func bar(done, n, width int) string {
	if n < 1 {
		return ""
	}
	full := done * width / n
	return strings.Repeat("█", full) + dim.Render(strings.Repeat("░", width-full))
}

// pad fills a text up to a width.
func pad(text string, width int) string {
	return text + strings.Repeat(" ", max(0, width-lipgloss.Width(text)))
}

// remaining writes how long something takes; "" when that is not known.
func remaining(d time.Duration) string {
	if d < 0 {
		return ""
	}
	return report.Duration(d.Round(time.Second).Seconds())
}
