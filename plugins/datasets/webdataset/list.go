package main

import (
	"context"
	"fmt"
	"sort"

	"tandem/core/data/shard"
	"tandem/core/fault"
	"tandem/core/media/vision"
	"tandem/core/plugin/sdk/sample"
)

// list gives the samples of shards. It keeps nothing of them but the indexes.
type list struct {
	shards  *shard.Set
	plan    *plan
	classes map[string]int32 // by label; nil for none
	starts  []int            // the first sample of each shard, and their number
	chosen  [][]int32        // the records of each shard that are samples; nil for all
	again   map[int]bool     // samples with the key of an earlier one
}

var _ sample.List = (*list)(nil)

// Len implements sample.List.
func (l *list) Len() int { return l.starts[len(l.starts)-1] }

// place returns where sample i is: the numbers of its shard, and of its record there.
func (l *list) place(i int) (n, record int) {
	n = sort.SearchInts(l.starts, i+1) - 1
	record = i - l.starts[n]
	if l.chosen[n] != nil {
		record = int(l.chosen[n][record])
	}
	return n, record
}

// At implements sample.List.
func (l *list) At(i int) sample.Sample {
	n, record := l.place(i)
	r := l.shards.Shards[n].At(record)
	s := sample.Sample{Key: sample.Key(r.Key), Group: int64(i), Captions: l.plan.captionsOf(r.Texts)}
	if l.again[i] {
		s.Key = fmt.Sprintf("%s#%d.%d", s.Key, n, record)
	}
	if l.plan.negatives > 0 {
		s.Negatives = l.plan.negativesOf(r.Texts)
	}
	if l.classes != nil {
		class, ok := l.classes[l.plan.labelOf(r.Texts)]
		if !ok {
			class = -1
		}
		s.Labels = []int32{class}
	}
	return s
}

// picture reads and decodes the picture of sample i. Its error names shard and member.
func (l *list) picture(ctx context.Context, i int, o vision.Options) (vision.Picture, error) {
	n, record := l.place(i)
	x := l.shards.Shards[n]
	key, ending, offset, size := x.Place(record)
	data, err := l.shards.Read(ctx, n, offset, size)
	if err != nil {
		return vision.Picture{}, err
	}
	p, err := vision.Decode(data, o)
	if err != nil {
		err = withFile(err, x.Shard+": member "+fault.PrintableLine(key+"."+ending))
	}
	return p, err
}

// content tells the picture of sample i from others: by what its shard contains and where it lies in it.
func (l *list) content(i int) string {
	n, record := l.place(i)
	x := l.shards.Shards[n]
	_, _, offset, size := x.Place(record)
	shard := x.Sum
	if shard == "" {
		shard = fmt.Sprintf("%s %d %s", x.Shard, x.Size, x.Version)
	}
	return fmt.Sprintf("%s %d %d", shard, offset, size)
}

// hash returns a hash of a key (FNV-1a).
func hash(key string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(key) {
		h = (h ^ uint64(key[i])) * 1099511628211
	}
	return h
}
