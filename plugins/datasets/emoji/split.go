package main

import (
	"cmp"
	"math"
	"slices"

	"tandem/core/random"
	"tandem/plugins/datasets/emoji/catalog"
)

// split lists the pictures of the split in the order of the table, the styles of an emoji together.
func (c Config) split(emoji []catalog.Emoji) ([]picture, error) {
	test, err := c.testEmoji(emoji)
	if err != nil {
		return nil, err
	}
	var out []picture
	for i, e := range emoji {
		for _, style := range c.Styles {
			if c.Split != "all" && c.part(test[i], style == c.HoldoutStyle) != c.Split {
				continue
			}
			out = append(out, picture{i, -1, style})
			if c.SkinTones {
				for t := range e.Tones {
					out = append(out, picture{i, t, style})
				}
			}
		}
	}
	return out, nil
}

// testEmoji chooses the test emoji, identities as a whole, by the order of a hash of the identity and
// the split seed: a change to the table leaves the others where they were.
func (c Config) testEmoji(emoji []catalog.Emoji) (map[int]bool, error) {
	want := c.TestCount
	if c.TestFraction > 0 {
		want = int(math.Round(c.TestFraction * float64(len(emoji))))
	}
	if c.Split != "all" && (want < 1 || want >= len(emoji)) {
		return nil, tooFew(want, len(emoji))
	}
	members := map[string][]int{}
	var identities []string
	for i, e := range emoji {
		if members[e.Identity] == nil {
			identities = append(identities, e.Identity)
		}
		members[e.Identity] = append(members[e.Identity], i)
	}
	rank := map[string]uint64{}
	for _, id := range identities {
		rank[id] = random.New(c.SplitSeed, "emoji split "+id).Uint64()
	}
	slices.SortFunc(identities, func(a, b string) int { return cmp.Compare(rank[a], rank[b]) })
	test := map[int]bool{}
	for _, id := range identities {
		if len(test)+len(members[id]) > want { // a smaller one may still fit
			continue
		}
		for _, i := range members[id] {
			test[i] = true
		}
	}
	return test, nil
}

// part returns the split that a picture belongs to: "train", "test" or "" for none.
func (c Config) part(testEmoji, testStyle bool) string {
	held := testEmoji
	switch {
	case c.Holdout == "style":
		held = testEmoji && testStyle
	case c.Holdout == "both" && testEmoji != testStyle:
		return ""
	}
	if held {
		return "test"
	}
	return "train"
}
