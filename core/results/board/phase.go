package board

import "tandem/core/results"

// confirmed are the points that a search makes again under fresh seeds: its winner and the baseline.
const confirmed = 2

// addPhases counts the cells of the phases of a search.
func (b *Board) addPhases() {
	s := b.Settings.Search
	if s == nil {
		return
	}
	search, confirm := Phase{Name: results.Searched, Of: s.Trials}, Phase{Name: results.Confirming, Of: confirmed, Expected: confirmed * s.Confirm}
	if s.Confirm == 0 {
		confirm.Of = 0
	}
	for _, r := range b.Rows {
		p := &search
		if r.Phase == results.Confirming {
			p = &confirm
		}
		p.Points++
		for _, c := range r.Cells {
			if c.State != "" {
				p.Cells++
			}
			if c.State == Done {
				p.Done++
			}
		}
	}
	switch {
	case confirm.Points >= confirmed: // its winner is known
		search.Expected = search.Cells
	case search.Points > 0 && search.Of > 0:
		search.Expected = max(search.Cells, search.Of*search.Cells/search.Points)
	}
	b.Phases = []Phase{search, confirm}
}
