package mixture

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/tensor"
)

// letters is a dataset of n samples named after a letter. Its pictures are one byte three times: sample and epoch.
type letters struct {
	letter string
	n      int
	broken int // a sample that cannot be read
	err    error
}

func (*letters) Configure(context.Context, clip.DatasetConfig) (clip.DatasetInfo, error) {
	return clip.DatasetInfo{}, nil
}
func (*letters) Close() error { return nil }
func (l *letters) Captions(_ context.Context, limit int) ([]string, error) {
	out := []string{"shared"}
	for i := range l.n {
		out = append(out, fmt.Sprint(l.letter, i))
	}
	return out[:min(len(out), max(limit, len(out)*(1-min(limit, 1))))], nil
}

func (l *letters) Batch(_ context.Context, q clip.BatchRequest) (*clip.Batch, error) {
	if l.err != nil {
		return nil, l.err
	}
	b := &clip.Batch{Labels: map[string][]int32{"kind": nil, "own" + l.letter: nil}}
	if !q.NoImages {
		b.Images = tensor.New(tensor.U8, len(q.Indices), 1, 1, 3)
	}
	for at, i := range q.Indices {
		b.Keys, b.Captions = append(b.Keys, fmt.Sprint(i)), append(b.Captions, fmt.Sprint(l.letter, i, " epoch ", q.Epoch))
		b.Groups = append(b.Groups, int64(i/2))
		b.Labels["kind"] = append(b.Labels["kind"], int32(i%2))
		b.Labels["own"+l.letter] = append(b.Labels["own"+l.letter], 0)
		b.All = append(b.All, []string{l.letter})
		if q.Negatives {
			b.Negatives = append(b.Negatives, []string{"not " + l.letter})
		}
		if !q.NoImages {
			copy(b.Images.Data[at*3:], []byte{l.letter[0], byte(i), byte(q.Epoch)})
		}
		if i == l.broken {
			b.Faults = append(b.Faults, clip.SampleFault{Index: i, Key: fmt.Sprint(i), Msg: "bad", Reason: "truncated picture"})
		}
	}
	return b, nil
}

func two() (*Dataset, *letters) {
	kind := clip.Target{Name: "kind", Classes: []string{"even", "odd"}}
	b := &letters{"b", 5, 1, nil}
	return Join([]Member{
		{"a", &letters{"a", 3, -1, nil}, clip.DatasetInfo{Len: 3, Digest: "1", Note: "ays", Fixed: true, Negatives: 1, Skipped: 3, Targets: []clip.Target{kind, {Name: "owna"}},
			Skips: []clip.Skip{{Reason: "no caption", Count: 3, First: "x"}}}},
		{"b", b, clip.DatasetInfo{Len: 5, Digest: "2", Note: "bees", Fixed: true, Negatives: 1, Skipped: 6, Targets: []clip.Target{{Name: "ownb"}, kind}, Remarks: []string{"odd"},
			Skips: []clip.Skip{{Reason: "no caption", Count: 4, First: "y"}}, Shards: []int{2, 3}}},
	}), b
}

func TestAMixtureDescribesItsSources(t *testing.T) {
	d, _ := two()
	info := d.Info()
	want := []clip.Skip{{Reason: "no caption", Count: 7, First: "a: x"}, {Reason: "other", Count: 2, First: "b"}}
	if info.Len != 8 || info.Skipped != 9 || !slices.Equal(info.Skips, want) || info.Note != "a: ays; b: bees" || info.Remarks[0] != "b: odd" ||
		!info.Fixed || info.Negatives != 1 || !slices.Equal(info.Shards, []int{3, 2, 3}) {
		t.Errorf("%+v", info)
	}
	if len(info.Targets) != 1 || info.Targets[0].Name != "kind" {
		t.Errorf("targets %+v, want that which both have", info.Targets)
	}
	if !strings.Contains(info.Remarks[1], "owna of a, ownb of b") || len(info.Remarks) != 2 {
		t.Errorf("remarks %q", info.Remarks)
	}
	captions, err := d.Captions(t.Context(), 0)
	if want := []string{"shared", "a0", "a1", "a2", "b0", "b1", "b2", "b3", "b4"}; err != nil || !slices.Equal(captions, want) {
		t.Errorf("captions %v, %v", captions, err)
	}
	if captions, _ := d.Captions(t.Context(), 5); len(captions) != 5 {
		t.Errorf("of at most 5 captions there are %v", captions)
	}
}

// Every sample stands in its place with what belongs to it, whatever sources and epochs are asked for at once.
func TestABatchOfSeveralSourcesAndEpochs(t *testing.T) {
	d, b := two()
	indices, epochs := []int{7, 0, 4, 2, 3, 1}, []int{2, 0, 1, 1, 2, 0}
	into := tensor.New(tensor.U8, 6, 1, 1, 3)
	got, err := d.BatchOf(t.Context(), clip.BatchRequest{Indices: indices, Train: true, Negatives: true, Into: into}, epochs)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"b/4", "a/0", "b/1", "a/2", "b/0", "a/1"}; !slices.Equal(got.Keys, want) || got.Images != into {
		t.Errorf("keys %v", got.Keys)
	}
	if want := []clip.SampleFault{{Index: 4, Key: "b/1", Msg: "bad", Reason: "truncated picture"}}; !slices.Equal(got.Faults, want) {
		t.Errorf("faults %+v", got.Faults)
	}
	for at, index := range indices {
		letter, i := "a", index
		if index >= 3 {
			letter, i = "b", index-3
		}
		if want := []byte{letter[0], byte(i), byte(epochs[at])}; !slices.Equal(into.Data[at*3:at*3+3], want) {
			t.Errorf("place %d has the picture %v, want %v", at, into.Data[at*3:at*3+3], want)
		}
		if got.Captions[at] != fmt.Sprint(letter, i, " epoch ", epochs[at]) || got.Negatives[at][0] != "not "+letter || got.Labels["kind"][at] != int32(i%2) {
			t.Errorf("place %d: %q, %v, %v", at, got.Captions[at], got.Negatives[at], got.Labels)
		}
		for other := range indices {
			together := strings.HasPrefix(got.Keys[other], letter) && i/2 == int(got.Keys[other][2]-'0')/2
			if (got.Groups[at] == got.Groups[other]) != together {
				t.Errorf("groups %v of %v", got.Groups, got.Keys)
			}
		}
	}
	if all, err := d.Batch(t.Context(), clip.BatchRequest{Indices: []int{1, 5}, NoImages: true}); err != nil || all.All[1][0] != "b" || all.Images != nil {
		t.Errorf("%+v, %v", all, err)
	}
	if _, err := d.Batch(t.Context(), clip.BatchRequest{Indices: []int{8}}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("an index beyond the end: %v", err)
	}
	b.err = fault.New(fault.Unavailable, "away")
	if _, err := d.Batch(t.Context(), clip.BatchRequest{Indices: []int{1, 5}}); fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "source b") {
		t.Errorf("a source that fails: %v", err)
	}
}

// Groups of two sources are never one, whatever their numbers.
func TestGroupsOfSourcesAreApart(t *testing.T) {
	d, _ := two()
	seen := map[int64]bool{}
	for member := range 2 {
		for _, group := range []int64{0, 1, 2, 1 << 40, 1<<62 - 1, 1 << 62, -1, -2, -1 << 63} {
			g := d.group(member, group)
			if seen[g] {
				t.Errorf("group %d of source %d is %d, which another is", group, member, g)
			}
			seen[g] = true
		}
	}
}
