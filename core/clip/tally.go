package clip

import (
	"fmt"
	"math"
	"strconv"
)

// Tally counts samples that were asked for, and those among them that could not be read.
type Tally struct {
	Asked int `json:"asked"`
	Bad   int `json:"bad"`
}

// Share is the share of samples that could not be read, 0 when none was asked for.
func (t Tally) Share() float64 {
	if t.Asked == 0 {
		return 0
	}
	return float64(t.Bad) / float64(t.Asked)
}

// Exceeds says whether more than limit of a set of size samples cannot be read. When as many were asked for the
// share says so itself. Before that so many must be bad already that the rest does not matter; or, when those asked
// for were drawn at random, the share must lie four standard deviations above the limit, from 20 samples on, since the
// first may be the worst by chance. A limit of 0 allows none, 1 allows all.
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

// Of is a count for people: "71 of 384 samples (18.5 %)".
func Of(n, all int, what string) string {
	return fmt.Sprintf("%d of %d %s (%s)", n, all, what, percent(n, all))
}

// percent is a share with two digits of its own, and never 0 or 100 % but for none and all.
func percent(n, all int) string {
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
