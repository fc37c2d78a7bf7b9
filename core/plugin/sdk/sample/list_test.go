package sample

import (
	"fmt"
	"slices"
	"testing"

	"tandem/core/clip"
)

// counted is a list that holds nothing.
type counted int

func (c counted) Len() int { return int(c) }

func (c counted) At(i int) Sample {
	return Sample{Key: fmt.Sprint("k", i), Group: int64(i / 2), Captions: []string{fmt.Sprint("number ", i), fmt.Sprint(i), "thing"},
		Labels: []int32{int32(i % 2)}}
}

func TestAListDoesWhatSamplesDo(t *testing.T) {
	set := plain(9)
	lazy := plain(9)
	lazy.Samples, lazy.List = nil, counted(9)
	a, b := configured(t, set, clip.DatasetConfig{}), configured(t, lazy, clip.DatasetConfig{})
	if set.digest() != lazy.digest() {
		t.Error("the digests differ")
	}
	q := clip.BatchRequest{Indices: []int{8, 3}, Epoch: 2, Train: true}
	x, y := batch(t, a, q), batch(t, b, q)
	if !slices.Equal(x.Captions, y.Captions) || !slices.Equal(x.Keys, y.Keys) || !slices.Equal(x.Groups, y.Groups) || x.Labels["label"][1] != y.Labels["label"][1] {
		t.Errorf("%+v\n%+v", x, y)
	}
	one, _ := a.Captions(t.Context(), 0)
	if two, err := b.Captions(t.Context(), 0); err != nil || !slices.Equal(one, two) {
		t.Errorf("%q\n%q %v", one, two, err)
	}
}

func TestWhatIsMissingGoesOutOfListsAndShards(t *testing.T) {
	set := onDisk(t, 6, 0, 3, 4)
	set.Samples, set.List, set.Shards, set.Digest = nil, counted(6), []int{3, 2, 1}, "all"
	set.SkipAll(clip.Skip{Reason: "no picture", Count: 2, First: "line 7"})
	d, info, err := open(set, clip.DatasetConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if info.Len != 3 || !slices.Equal(info.Shards, []int{2, 0, 1}) || info.Digest == "all" || len(info.Skips) != 2 || info.Skips[0].Count != 2 ||
		info.Skips[1].Reason != "missing picture" || info.Skips[1].Count != 3 || info.Skipped != 5 {
		t.Errorf("%+v", info)
	}
	if b := batch(t, d, clip.BatchRequest{Indices: []int{0, 1, 2}}); !slices.Equal(b.Keys, []string{"k1", "k2", "k5"}) || b.Images.U8()[2*48] != 5 {
		t.Errorf("keys %v", b.Keys)
	}
}
