package ablation

import (
	"fmt"
	"slices"

	"tandem/core/results/stat"
)

// keepLook leaves the cells of the newest planned look that is complete: those under the first so many seeds. Without it, who
// looks at 3, then 5, then 8 seeds and stops at the first verdict is wrong more than twice as often as alpha says.
func (a *analysis) keepLook() {
	if len(a.e.Looks) == 0 {
		return
	}
	// Seeds in the order of the design; each is complete when none of its cells may still come.
	var seeds []int64
	waiting := map[int64]bool{}
	for _, c := range a.e.Cells {
		if a.isRepeat(c.Variant) {
			continue
		}
		if !slices.Contains(seeds, c.Seed) {
			seeds = append(seeds, c.Seed)
		}
		waiting[c.Seed] = waiting[c.Seed] || state(c, a.Metrics[0].Name).Unfinished()
	}
	complete := 0
	for complete < len(seeds) && !waiting[seeds[complete]] {
		complete++
	}
	l := &Look{Of: len(a.e.Looks)}
	a.Look = l
	shares := stat.Spending(a.e.Looks, a.Alpha)
	for i, n := range a.e.Looks {
		if n <= complete {
			l.Number, l.Seeds, l.Share = i+1, n, shares[i]
		} else if l.Next == 0 {
			l.Next = n
		}
	}
	if l.Number == 0 {
		a.note("No verdict before the first planned look, at %d seeds: %s complete in all variants.", l.Next, isAre(complete))
		return
	}
	taken := seeds[:l.Seeds]
	kept := slices.DeleteFunc(slices.Clone(a.e.Cells), func(c Cell) bool { return !a.isRepeat(c.Variant) && !slices.Contains(taken, c.Seed) })
	l.Left = len(a.e.Cells) - len(kept)
	a.e.Cells = kept
	a.note("Look %d of %d, at the first %d seeds: it may spend %.2g of the %.2g that all looks have, and p counts for that (O'Brien and Fleming's spending).",
		l.Number, l.Of, l.Seeds, l.Share*a.Alpha, a.Alpha)
	if l.Next > 0 {
		a.note("The next look is at %d seeds, of which %s complete; %d cells under later seeds are left out until then.", l.Next, isAre(complete), l.Left)
	}
}

func isAre(n int) string {
	if n == 1 {
		return "1 is"
	}
	return fmt.Sprintf("%d are", n)
}
