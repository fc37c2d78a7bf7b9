package clip

import "testing"

func TestATallyExceedsItsLimitOnceThatIsBeyondDoubt(t *testing.T) {
	for _, c := range []struct {
		tally Tally
		limit float64
		size  int
		want  bool
	}{
		{Tally{0, 0}, 0, 10, false},
		{Tally{1, 1}, 0, 10, true},         // none is allowed
		{Tally{8, 1}, .05, 1000, false},    // 12 % of too few
		{Tally{12, 1}, .05, 12, true},      // 8 % of all
		{Tally{12, 1}, .1, 12, false},      // fewer than allowed
		{Tally{20, 5}, .05, 1000, true},    // beyond chance
		{Tally{200, 16}, .05, 1000, false}, // 8 %, which chance may give
		{Tally{200, 30}, .05, 1000, true},
		{Tally{1000, 51}, .05, 1000, true}, // all were read
		{Tally{1000, 50}, .05, 1000, false},
		{Tally{10, 10}, 1, 10, false},
	} {
		if got := c.tally.Exceeds(c.limit, c.size, true); got != c.want {
			t.Errorf("%+v of %d, limit %g: %v, want %v", c.tally, c.size, c.limit, got, c.want)
		}
	}
}

// A file may begin with its worst samples, so samples in order count only when the rest cannot make up for them.
func TestSamplesInOrderSayNothingOfTheRest(t *testing.T) {
	for bad, want := range map[int]bool{30: false, 50: false, 51: true} {
		if got := (Tally{Asked: bad, Bad: bad}).Exceeds(.5, 100, false); got != want {
			t.Errorf("the first %d of 100 are bad, half may be: %v, want %v", bad, got, want)
		}
	}
}
