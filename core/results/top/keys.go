package top

import (
	tea "charm.land/bubbletea/v2"

	"tandem/core/results/board"
)

// helpText lists the keys.
const helpText = `↑ ↓ ← →  or k j h l   move
PgUp PgDn Home End    move far
Enter                 open the experiment, the run
Esc or Backspace      back
n, N                  next or previous cell that failed or was interrupted
r                     read again
?                     this list
q or Ctrl-C           leave`

// key does what a key asks for.
func (m *model) key(key string) tea.Cmd {
	if m.help && key != "q" && key != "ctrl+c" {
		m.help = false
		return nil
	}
	page := max(1, m.height-6)
	switch key {
	case "q", "ctrl+c":
		m.err = nil
		return tea.Quit
	case "ctrl+z":
		return tea.Suspend
	case "?":
		m.help = true
	case "r":
		return m.load()
	case "up", "k":
		m.move(-1, 0)
	case "down", "j":
		m.move(1, 0)
	case "left", "h":
		m.move(0, -1)
	case "right", "l":
		m.move(0, 1)
	case "pgup", "ctrl+b":
		m.move(-page, 0)
	case "pgdown", "ctrl+f", "space":
		m.move(page, 0)
	case "home", "g":
		m.move(-1<<30, 0)
	case "end", "G":
		m.move(1<<30, 0)
	case "n":
		m.seek(1)
	case "N":
		m.seek(-1)
	case "enter":
		return m.open()
	case "esc", "backspace":
		return m.back()
	}
	return nil
}

// move moves the cursor, or the lines of a run.
func (m *model) move(rows, cols int) {
	switch m.screen {
	case listScreen:
		m.at += rows
	case boardScreen:
		m.row, m.col = m.row+rows, m.col+cols
	case runScreen:
		m.scroll = max(0, min(m.scroll+rows, len(m.runLines())-m.room()))
	}
	m.keepInside()
}

// seek moves to the next cell that needs a person, in the direction given.
func (m *model) seek(step int) {
	if m.screen != boardScreen || m.board == nil || len(m.board.Seeds) == 0 {
		return
	}
	width := len(m.board.Seeds)
	all := width * len(m.board.Rows)
	for i := 1; i <= all; i++ {
		at := ((m.row*width+m.col+i*step)%all + all) % all
		row := m.board.Rows[at/width]
		if at%width >= len(row.Cells) {
			continue
		}
		if s := row.Cells[at%width].State; s == board.Failed || s == board.Interrupted || s == board.Tainted {
			m.row, m.col = at/width, at%width
			return
		}
	}
}

// open opens what is under the cursor.
func (m *model) open() tea.Cmd {
	switch m.screen {
	case listScreen:
		if m.at < len(m.list) {
			m.screen, m.experiment, m.board, m.row, m.col = boardScreen, m.list[m.at].Name, nil, 0, 0
			return m.load()
		}
	case boardScreen:
		if c := m.chosen(); c != nil && c.Run != "" {
			m.screen, m.runs, m.run, m.scroll = runScreen, c.Run, nil, 0
			return m.load()
		}
	}
	return nil
}

// back goes to the screen before.
func (m *model) back() tea.Cmd {
	if m.screen == listScreen {
		return nil
	}
	m.screen--
	return m.load()
}
