package main

import (
	"slices"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/fault"
)

const opposed = `image,caption,wrong,worse
a.png,a horse on a man,a man on a horse,
a.png,a rider,nobody,a man on a horse
b.png,b,,
c.png,c,c,not c
`

// Negatives of the rows of one picture belong to all of it; what fits is none, and a picture without any is refused.
func TestNegativesComeFromTheirColumns(t *testing.T) {
	d, info, err := configure(t, opposed, map[string]any{"negatives": []string{"wrong", "worse"}})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if info.Negatives != 2 || info.Len != 2 || info.Skipped != 1 || !strings.Contains(strings.Join(info.Remarks, " "), "b.png") {
		t.Errorf("%+v", info)
	}
	b, err := d.Batch(t.Context(), clip.BatchRequest{Indices: []int{0, 1}, Train: true, Negatives: true})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range [][]string{{"a man on a horse", "nobody"}, {"not c", "not c"}} {
		if !slices.Equal(b.Negatives[i], want) {
			t.Errorf("%s: negatives %q, want %q", b.Keys[i], b.Negatives[i], want)
		}
	}
	_, plain, err := configure(t, opposed, nil)
	if err != nil || plain.Negatives != 0 || plain.Len != 3 {
		t.Errorf("without the setting: %+v, %v", plain, err)
	}
	if _, _, err := configure(t, opposed, map[string]any{"negatives": []string{"wrongg"}}); fault.KindOf(err) != fault.Invalid || !strings.Contains(fault.Format(err), "did you mean wrong") {
		t.Errorf("a column that is not there: %v", err)
	}
}
