package clip

import (
	"fmt"
	"slices"
	"strings"
)

// ReasonOther is the reason of records that were refused without one.
const ReasonOther = "other"

// AddSkips returns a list with more skips counted in it: those of a reason it has are added to it and its First stays.
// The list keeps its order. It may share memory with the list given.
func AddSkips(list []Skip, more ...Skip) []Skip {
	for _, m := range more {
		if m.Count < 1 {
			continue
		}
		if m.Reason = strings.TrimSpace(m.Reason); m.Reason == "" {
			m.Reason = ReasonOther
		}
		i := slices.IndexFunc(list, func(s Skip) bool { return s.Reason == m.Reason })
		if i < 0 {
			m.First = shorten(m.First)
			list = append(list, m)
			continue
		}
		list[i].Count += m.Count
		if list[i].First == "" {
			list[i].First = shorten(m.First)
		}
	}
	return list
}

// maxFirst limits the bytes of Skip.First.
const maxFirst = 1000

func shorten(text string) string {
	if len(text) <= maxFirst {
		return text
	}
	return strings.ToValidUTF8(text[:maxFirst], "") + "…"
}

// CountSkips returns how many records were refused.
func CountSkips(list []Skip) int {
	n := 0
	for _, s := range list {
		n += s.Count
	}
	return n
}

// SayReasons lists reasons with their counts, the most frequent first: "12 truncated picture, 3 no caption".
func SayReasons(list []Skip) string {
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b Skip) int { return b.Count - a.Count })
	var out []string
	for _, s := range list {
		out = append(out, fmt.Sprintf("%d %s", s.Count, s.Reason))
	}
	return strings.Join(out, ", ")
}

// SayFirst names the first record of the most frequent reason that has one: "the first no caption is a.tar: member 7.jpg: …".
// It is empty where no dataset told any.
func SayFirst(list []Skip) string {
	var most Skip
	for _, s := range list {
		if s.First != "" && s.Count > most.Count {
			most = s
		}
	}
	if most.First == "" {
		return ""
	}
	return fmt.Sprintf("the first with %s: %s", most.Reason, most.First)
}
