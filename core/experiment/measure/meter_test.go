package measure

import (
	"testing"
	"time"
)

func TestUnionCountsOverlapsOnce(t *testing.T) {
	at := time.Now()
	span := func(from, to int) interval {
		return interval{at.Add(time.Duration(from)), at.Add(time.Duration(to))}
	}
	for want, spans := range map[time.Duration][]interval{
		0:  nil,
		10: {span(0, 10), span(2, 5)},
		12: {span(20, 22), span(0, 4), span(3, 10)},
		7:  {span(5, 7), span(0, 5), span(0, 5)},
	} {
		if got := unionLength(spans); got != want {
			t.Errorf("union of %v is %d, want %d", spans, got, want)
		}
	}
}
