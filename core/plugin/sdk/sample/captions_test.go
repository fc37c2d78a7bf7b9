package sample

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestDistinctKeepsTheFirstOfEach(t *testing.T) {
	d := Distinct{List: []string{"a", "b"}}
	want := []string{"a", "b"}
	for i := range 100 {
		d.Add(fmt.Sprint(i / 2))
		d.Add("a")
		if i%2 == 0 {
			want = append(want, fmt.Sprint(i/2))
		}
	}
	if !slices.Equal(d.List, want) {
		t.Errorf("%q", d.List)
	}
	if len(d.seen) != len(want) { // a long list is not looked through for each text
		t.Errorf("%d of %d texts are known by hash", len(d.seen), len(want))
	}
}

func TestNamesThatHardlyDifferAreSaid(t *testing.T) {
	for _, c := range []struct {
		classes []string
		want    string
	}{
		{[]string{"cat", "dog", "cat dog"}, ""},
		{[]string{"polar bear", "polar_bear", "Polar-Bear"}, `"polar bear" and "polar_bear", "polar bear" and "Polar-Bear"`},
		{[]string{"cat", "cat"}, `"cat" and "cat"`},
		{[]string{`"cat"`, "cat "}, `"\"cat\"" and "cat "`},
	} {
		if got := strings.Join(Alike(c.classes), "\n"); !strings.Contains(got, c.want) || (got == "") != (c.want == "") {
			t.Errorf("%q: %q", c.classes, got)
		}
	}
	var many []string
	for i := range 20 {
		many = append(many, strings.Repeat("x", i+1), strings.Repeat("X", i+1))
	}
	if got := Alike(many); len(got) != 1 || !strings.HasSuffix(got[0], ", 15 more") {
		t.Errorf("%q", got)
	}
}
