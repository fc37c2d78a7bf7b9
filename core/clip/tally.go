package clip

import (
	"fmt"
	"math"
	"strconv"
)

// Tally counts the samples that were asked for and, among them, the bad ones: those that could not be read.
type Tally struct {
	Asked int `json:"asked"`
	Bad   int `json:"bad"`
}

// Share returns the fraction of samples that are bad; 0 when none was asked for.
func (t Tally) Share() float64 {
	if t.Asked == 0 {
		return 0
	}
	return float64(t.Bad) / float64(t.Asked)
}

// Exceeds reports whether certainly more than the fraction limit of a set of size samples is bad. A limit of
// 0 allows no bad sample, 1 allows all.
//
// Once size samples were asked for, Share decides. Before that, the bad samples must be so many already that
// the rest of the set cannot make up for them. When the samples were drawn at random it is also enough, from 20
// samples on, that Share lies four standard deviations above the limit; a smaller excess may be chance.
func (t Tally) Exceeds(limit float64, size int, random bool) bool {
	n, bad := float64(t.Asked), float64(t.Bad)
	switch {
	case t.Bad == 0 || t.Share() <= limit:
		return false
	case t.Asked >= size || bad > limit*float64(size):
		return true
	}
	return random && n >= 20 && bad > n*limit+4*math.Sqrt(n*limit*(1-limit))
}

// CountOf writes a count for people: "71 of 384 samples (18.5 %)".
func CountOf(n, all int, what string) string {
	return fmt.Sprintf("%d of %d %s (%s)", n, all, what, formatPercent(n, all))
}

// formatPercent writes n/all with one decimal. Only none is written as 0 % and only all as 100 %.
func formatPercent(n, all int) string {
	share := 100 * float64(n) / float64(max(1, all))
	switch {
	case n == 0 || n == all:
		return strconv.Itoa(int(share)) + " %"
	case share < 0.1:
		return "under 0.1 %"
	case share > 99.9:
		return "over 99.9 %"
	}
	return strconv.FormatFloat(share, 'f', 1, 64) + " %"
}
