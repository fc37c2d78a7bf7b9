// Package top shows experiments in a terminal while they run: the list, the board of one, a run. It reads and starts nothing.
package top

import (
	"context"
	"io"
	"slices"
	"time"

	tea "charm.land/bubbletea/v2"

	"tandem/core/results/board"
	"tandem/core/results/store"
)

// Source gives what was recorded; a store.Reader does.
type Source interface {
	board.Source
	Overviews(ctx context.Context) ([]store.Overview, error)
	Get(ctx context.Context, run string) (*store.RunDetail, error)
}

// Options says what is shown.
type Options struct {
	Name       string      // of the database
	Experiment string      // the board that is open first; "": the list
	Changed    func() bool // whether somebody has written since the last call
	In         io.Reader
	Out        io.Writer
}

// Run shows experiments until the reader ends it or ctx ends.
func Run(ctx context.Context, src Source, o Options) error {
	m := newModel(ctx, src, o)
	end, err := tea.NewProgram(m, tea.WithContext(ctx), tea.WithInput(o.In), tea.WithOutput(o.Out), tea.WithoutSignalHandler()).Run()
	if ctx.Err() != nil {
		return nil
	}
	if m, ok := end.(*model); ok && err == nil {
		err = m.err
	}
	return err
}

// lookEvery is how often the database is asked whether it has changed, and countEvery how often times that pass are drawn again.
const (
	lookEvery  = time.Second
	countEvery = time.Second
)

// screen names what is shown.
type screen int

const (
	listScreen screen = iota
	boardScreen
	runScreen
)

// model implements tea.Model.
type model struct {
	ctx context.Context
	src Source
	o   Options

	width, height int
	screen        screen
	help          bool
	err           error // of the last reading
	read          bool  // something has been read

	list []store.Overview
	at   int // in list

	experiment string
	board      *board.Board
	row, col   int // in the board
	runs       string
	run        *store.RunDetail
	scroll     int // lines of the run that are above the screen
	reading    bool
	again      bool // something changed while it was read
}

func newModel(ctx context.Context, src Source, o Options) *model {
	m := &model{ctx: ctx, src: src, o: o, width: 80, height: 24, experiment: o.Experiment}
	if o.Experiment != "" {
		m.screen = boardScreen
	}
	return m
}

// What the model is told.
type (
	looked bool // whether the database has changed
	ticked time.Time
	loaded struct {
		screen     screen
		experiment string
		id         string
		list       []store.Overview
		board      *board.Board
		run        *store.RunDetail
		err        error
	}
)

// Init implements tea.Model.
func (m *model) Init() tea.Cmd { return tea.Batch(m.load(), m.look(), tick()) }

func tick() tea.Cmd { return tea.Tick(countEvery, func(t time.Time) tea.Msg { return ticked(t) }) }

// look waits and asks whether the database has changed.
func (m *model) look() tea.Cmd {
	return tea.Tick(lookEvery, func(time.Time) tea.Msg {
		return looked(m.o.Changed())
	})
}

// load reads what the screen shows. While it reads, a further call waits for its end.
func (m *model) load() tea.Cmd {
	if m.reading {
		m.again = true
		return nil
	}
	m.reading = true
	screen, experiment, id := m.screen, m.experiment, m.runs
	return func() tea.Msg {
		l := loaded{screen: screen, experiment: experiment, id: id}
		switch screen {
		case listScreen:
			l.list, l.err = m.src.Overviews(m.ctx)
		case boardScreen:
			l.board, l.err = board.Read(m.ctx, m.src, experiment)
		case runScreen:
			l.run, l.err = m.src.Get(m.ctx, id)
		}
		return l
	}
}

// Update implements tea.Model.
func (m *model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case tea.KeyPressMsg:
		return m, m.key(msg.String())
	case ticked:
		return m, tick()
	case looked:
		if msg {
			return m, tea.Batch(m.load(), m.look())
		}
		return m, m.look()
	case loaded:
		return m, m.take(msg)
	}
	return m, nil
}

// take puts in place what was read, and reads again what changed meanwhile.
func (m *model) take(l loaded) tea.Cmd {
	m.reading = false
	m.err, m.read = l.err, true
	switch {
	case l.err != nil:
	case l.screen == listScreen:
		if m.at < len(m.list) { // stay with the experiment, not with its place
			name := m.list[m.at].Name
			if i := slices.IndexFunc(l.list, func(o store.Overview) bool { return o.Name == name }); i >= 0 {
				m.at = i
			}
		}
		m.list = l.list
	case l.screen == boardScreen && l.experiment == m.experiment:
		m.board = l.board
	case l.screen == runScreen && l.id == m.runs:
		m.run = l.run
	}
	m.keepInside()
	if m.again || l.screen != m.screen {
		m.again = false
		return m.load()
	}
	return nil
}

// keepInside moves the places of the cursor to where something is.
func (m *model) keepInside() {
	m.at = max(0, min(m.at, len(m.list)-1))
	if m.board != nil {
		m.row = max(0, min(m.row, len(m.board.Rows)-1))
		m.col = max(0, min(m.col, len(m.board.Seeds)-1))
	}
}

// chosen returns the cell under the cursor, or nil.
func (m *model) chosen() *board.Cell {
	if m.board == nil || m.row >= len(m.board.Rows) || m.col >= len(m.board.Rows[m.row].Cells) {
		return nil
	}
	return &m.board.Rows[m.row].Cells[m.col]
}
