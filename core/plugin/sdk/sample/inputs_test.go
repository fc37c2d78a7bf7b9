package sample

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/random"
)

// The second view has random numbers of its own: the first has the same bits with it and without, and both are
// functions of epoch and index.
func TestASecondViewLeavesTheFirstAsItIs(t *testing.T) {
	alter := func(pix []byte, _ int, s *random.Stream) { pix[0] = byte(s.Uint64()) }
	for _, set := range []func() *Set{func() *Set { return plain(20, 7) }, func() *Set { s := plain(20, 7); s.Alter = alter; return s }} {
		d := configured(t, set(), clip.DatasetConfig{Threads: 3, Augment: augment})
		q := clip.BatchRequest{Indices: []int{3, 7, 11}, Epoch: 5, Train: true}
		one := batch(t, d, q)
		if one.Images2 != nil {
			t.Error("a second view that nobody asked for")
		}
		q.View2 = true
		two := batch(t, configured(t, set(), clip.DatasetConfig{Threads: 1, Augment: augment}), q)
		if !bytes.Equal(one.Images.Data, two.Images.Data) {
			t.Error("the first view has other bits beside a second")
		}
		a, b := two.Images2.U8()[:48], two.Images.U8()[:48]
		if bytes.Equal(a, b) {
			t.Error("both views are the same")
		}
		if !bytes.Equal(two.Images2.U8()[48:96], make([]byte, 48)) || len(two.Faults) != 1 {
			t.Errorf("a picture that cannot be read: faults %v", two.Faults)
		}
		again := batch(t, d, clip.BatchRequest{Indices: []int{3}, Epoch: 5, Train: true, View2: true})
		if !bytes.Equal(again.Images2.U8(), a) {
			t.Error("a second view depends on more than epoch and index")
		}
		q.NoImages = true
		if none := batch(t, d, q); none.Images2 != nil {
			t.Error("a second view although no pictures are wanted")
		}
	}
}

// withNegatives gives each sample a pool of texts: sample i has i of them.
func withNegatives(n, wanted int) *Set {
	s := plain(n)
	s.Negatives = wanted
	for i := range s.Samples {
		for k := range i {
			s.Samples[i].Negatives = append(s.Samples[i].Negatives, fmt.Sprintf("not %d, nor %d", i, k))
		}
	}
	return s
}

func TestEverySampleHasAsManyNegativesAsAskedFor(t *testing.T) {
	set := withNegatives(6, 3)
	d := New(func(context.Context, clip.DatasetConfig) (*Set, error) { return set, nil })
	info, err := d.Configure(t.Context(), clip.DatasetConfig{ImageSize: 4})
	if err != nil || info.Negatives != 3 || info.Len != 5 || info.Skipped != 1 || !strings.Contains(info.Remarks[0], "1 of 6 samples have no negative") {
		t.Fatalf("%+v, %v", info, err)
	}
	q := clip.BatchRequest{Indices: []int{0, 1, 2, 4}, Train: true, Negatives: true}
	b := batch(t, d, q)
	for at, want := range [][]string{
		{"not 1, nor 0", "not 1, nor 0", "not 1, nor 0"}, {"not 2, nor 0", "not 2, nor 1", "not 2, nor 0"}, {"not 3, nor 0", "not 3, nor 1", "not 3, nor 2"},
	} {
		if !slices.Equal(b.Negatives[at], want) {
			t.Errorf("sample %d: %q, want %q", at, b.Negatives[at], want)
		}
	}
	drawn := map[string]bool{}
	for q.Epoch = range 20 {
		five := batch(t, d, q).Negatives[3]
		if len(five) != 3 || len(slices.Compact(slices.Sorted(slices.Values(five)))) != 3 {
			t.Fatalf("epoch %d: %q", q.Epoch, five)
		}
		drawn[strings.Join(five, "|")] = true
	}
	if len(drawn) < 5 {
		t.Errorf("%d choices in 20 epochs", len(drawn))
	}
	if texts, err := d.Captions(t.Context(), 0); err != nil || !slices.Contains(texts, "not 5, nor 4") {
		t.Errorf("the tokenizer does not see the negatives: %v", err)
	}
	if _, err := configured(t, plain(3), clip.DatasetConfig{}).Batch(t.Context(), q); fault.KindOf(err) != fault.Invalid {
		t.Errorf("of a set without negatives: %v", err)
	}
}

// A caption is no negative of its own picture.
func TestNegativesThatFitAreDropped(t *testing.T) {
	set := plain(1)
	set.Negatives, set.Samples[0].Negatives = 2, []string{"thing", " ", "other"}
	d := configured(t, set, clip.DatasetConfig{})
	if got := batch(t, d, clip.BatchRequest{Indices: []int{0}, Negatives: true}).Negatives[0]; !slices.Equal(got, []string{"other", "other"}) {
		t.Errorf("negatives %q", got)
	}
}

// Negatives count in the digest; sets without any keep theirs.
func TestNegativesAreInTheDigest(t *testing.T) {
	if withNegatives(4, 0).digest() != plain(4).digest() || withNegatives(4, 1).digest() == plain(4).digest() ||
		withNegatives(4, 1).digest() == withNegatives(4, 2).digest() {
		t.Error("the digest is wrong about negatives")
	}
}
