package sample

import (
	"slices"
	"strings"

	"tandem/core/clip"
	"tandem/core/fault"
)

// Skip counts a record that is refused while the set is opened. reason is a few words that are the same for all of its
// kind ("no picture", "truncated picture"; fault.ReasonOf gives that of an error), and first says where this one is and
// what is wrong with it, of which the first of each reason is kept. It is not for several goroutines at once.
func (s *Set) Skip(reason, first string) {
	s.SkipAll(clip.Skip{Reason: reason, Count: 1, First: first})
}

// SkipError counts a record that is refused for an error.
func (s *Set) SkipError(err error) { s.Skip(fault.ReasonOf(err), err.Error()) }

// SkipAll counts records that were refused and are counted by reason already, such as those of one shard.
func (s *Set) SkipAll(skips ...clip.Skip) { s.skips = clip.AddSkips(s.skips, skips...) }

// Skips returns the records that have been refused so far, by reason.
func (s *Set) Skips() []clip.Skip {
	if s.Skipped == 0 {
		return s.skips
	}
	return clip.AddSkips(slices.Clone(s.skips), clip.Skip{Reason: clip.ReasonOther, Count: s.Skipped})
}

// refused returns how many records were refused.
func (s *Set) refused() int { return clip.CountSkips(s.Skips()) }

// checkShards reports shards that do not have the samples of the set.
func (s *Set) checkShards() error {
	total := 0
	for _, n := range s.Shards {
		total += n
	}
	if s.Shards != nil && total != s.Len() {
		return fault.New(fault.Internal, "%d samples in %d shards, want %d", total, len(s.Shards), s.Len())
	}
	return nil
}

// shrinkShards takes the samples out of the shards that are not at indices, which are in order.
func (s *Set) shrinkShards(indices []int) {
	end, next := 0, 0
	for k, n := range s.Shards {
		end += n
		s.Shards[k] = 0
		for ; next < len(indices) && indices[next] < end; next++ {
			s.Shards[k]++
		}
	}
}

// firstOf says where the first of several refused samples is and what is wrong with it.
func (s *Set) firstOf(i int, parts ...string) string {
	return strings.Join(append([]string{s.At(i).Key}, parts...), ": ")
}
