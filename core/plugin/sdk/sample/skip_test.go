package sample

import (
	"slices"
	"testing"

	"tandem/core/clip"
	"tandem/core/fault"
)

// What a plugin refuses and what the set refuses itself add up, by reason, and shards lose what is refused.
func TestRefusedRecordsAreCountedByReason(t *testing.T) {
	set := onDisk(t, 7, 0, 3)
	set.Samples[5].Captions = []string{" "}
	set.Negatives = 1
	for i := range set.Samples {
		set.Samples[i].Negatives = []string{"not it"}
	}
	set.Samples[6].Negatives = []string{set.Samples[6].Captions[0]}
	set.Shards = []int{1, 4, 0, 2}
	set.Skip("no picture", "line 7")
	set.Skip("no picture", "line 9")
	set.SkipError(fault.New(fault.Corrupt, "bad tar").WithReason("corrupt record"))
	set.SkipAll(clip.Skip{Reason: "missing picture", Count: 3, First: "another"}, clip.Skip{Reason: "nothing"})
	_, info, err := open(set, clip.DatasetConfig{})
	if err != nil {
		t.Fatal(err)
	}
	want := []clip.Skip{{Reason: "no picture", Count: 2, First: "line 7"}, {Reason: "corrupt record", Count: 1, First: "bad tar"},
		{Reason: "missing picture", Count: 5, First: "another"}, {Reason: "no caption", Count: 1, First: "k5"}, {Reason: "no negative", Count: 1, First: "k6"}}
	if !slices.Equal(info.Skips, want) || info.Skipped != 10 || info.Len != 3 {
		t.Errorf("%d samples, %d refused: %+v", info.Len, info.Skipped, info.Skips)
	}
	if want := []int{0, 3, 0, 0}; !slices.Equal(info.Shards, want) {
		t.Errorf("shards %v, want %v", info.Shards, want)
	}
}

// Records that a plugin only counts have the reason "other", once.
func TestRecordsRefusedWithoutReason(t *testing.T) {
	set := plain(3)
	set.Skipped = 4
	set.Skip("other", "one")
	for range 2 {
		if got := set.Skips(); !slices.Equal(got, []clip.Skip{{Reason: "other", Count: 5, First: "one"}}) {
			t.Errorf("%+v", got)
		}
	}
}

func TestShardsHaveTheSamplesOfTheSet(t *testing.T) {
	set := plain(5)
	set.Shards = []int{2, 2}
	if _, _, err := open(set, clip.DatasetConfig{}); fault.KindOf(err) != fault.Internal {
		t.Errorf("%v", err)
	}
}
