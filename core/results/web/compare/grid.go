package compare

import "tandem/core/results/web/curves"

// wide is how many runs have columns; with more, each is a row.
const wide = 6

// cell is a value of a run.
type cell struct {
	Text         string
	Number, Best bool
}

// head is the name of a row or a column.
type head struct {
	Text, Link string
	Number     bool
}

// grid is a table of what runs have.
type grid struct {
	Corner  string
	Columns []head
	Rows    []gridRow
	runs    []head
}

type gridRow struct {
	Head  head
	Cells []cell
}

// newGrid makes a table of the runs that have these lines in charts.
func newGrid(runs []curves.Line) *grid {
	g := &grid{}
	for _, r := range runs {
		g.runs = append(g.runs, head{Text: r.Label, Link: r.Link})
	}
	return g
}

// add adds what all runs have of something.
func (g *grid) add(name string, values []cell) {
	g.Rows = append(g.Rows, gridRow{head{Text: name}, values})
}

// done lays the table: a few runs side by side, many one below the other.
func (g *grid) done() grid {
	if len(g.runs) <= wide {
		g.Columns = g.runs
		for i := range g.Columns {
			g.Columns[i].Number = len(g.Rows) > 0 && g.Rows[0].Cells[i].Number
		}
		return *g
	}
	turned := grid{Corner: "Run"}
	for _, r := range g.Rows {
		turned.Columns = append(turned.Columns, head{Text: r.Head.Text, Number: r.Cells[0].Number})
	}
	for i, run := range g.runs {
		row := gridRow{Head: run}
		for _, r := range g.Rows {
			row.Cells = append(row.Cells, r.Cells[i])
		}
		turned.Rows = append(turned.Rows, row)
	}
	if len(g.Rows) == 0 {
		turned.Rows = nil
	}
	return turned
}
