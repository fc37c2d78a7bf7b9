package main

import (
	"slices"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/fault"
)

// Negatives are captions of near emoji of the same split, drawn anew each epoch, and never describe their sample.
func TestNegativesAreCaptionsOfNearEmoji(t *testing.T) {
	d, info := configured(t, map[string]any{"negatives": 3, "captions": "label", "templates": []string{"{}"}})
	if info.Negatives != 3 {
		t.Fatalf("%d negatives a sample", info.Negatives)
	}
	table, err := table()
	if err != nil {
		t.Fatal(err)
	}
	subgroup := map[string]string{}
	for _, e := range table {
		subgroup[e.Label] = e.Group + e.Subgroup
	}
	q := clip.BatchRequest{Train: true, Negatives: true, NoImages: true}
	for i := range info.Len {
		q.Indices = append(q.Indices, i)
	}
	first, err := d.Batch(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	near, all := 0, 0
	for i, texts := range first.Negatives {
		if len(texts) != 3 || slices.Contains(texts, first.Captions[i]) || texts[0] == texts[1] {
			t.Fatalf("%s (%s): negatives %q", first.Keys[i], first.Captions[i], texts)
		}
		for _, text := range texts {
			if all++; subgroup[text] == subgroup[first.Captions[i]] {
				near++
			}
		}
	}
	if float64(near) < .8*float64(all) {
		t.Errorf("%d of %d negatives are of the same subgroup", near, all)
	}
	q.Epoch = 1
	second, err := d.Batch(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	if slices.EqualFunc(first.Negatives, second.Negatives, slices.Equal) {
		t.Error("two epochs have the same negatives")
	}
	if _, _, err := try(map[string]any{"negatives": 64, "split": "test", "test_count": 20, "holdout": "emoji"}); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "with.negatives") {
		t.Errorf("more negatives than other emoji: %v", err)
	}
}

// A tag that two emoji share says nothing of the difference between them.
func TestSharedTagsAreNoNegatives(t *testing.T) {
	d, info := configured(t, map[string]any{"negatives": 2, "captions": "tags", "max_tags": 1})
	table, err := table()
	if err != nil {
		t.Fatal(err)
	}
	tags := map[string][]string{}
	for _, e := range table {
		tags[e.Hex] = e.Tags
	}
	for i := range info.Len {
		b, err := d.Batch(t.Context(), clip.BatchRequest{Indices: []int{i}, Train: true, Negatives: true, NoImages: true})
		if err != nil {
			t.Fatal(err)
		}
		hex, _, _ := strings.Cut(b.Keys[0], "/")
		for _, text := range b.Negatives[0] {
			if slices.Contains(tags[hex], text) {
				t.Errorf("%s has the tag %q, which is a negative of it", hex, text)
			}
		}
	}
}
