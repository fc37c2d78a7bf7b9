package sample

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestTextsComeBackAsTheyWentIn(t *testing.T) {
	texts, names := NewTexts(), []Text(nil)
	word := func(i int) string {
		switch i % 5 {
		case 0:
			return "often"
		case 1:
			return strings.Repeat("é", i%1000)
		case 2 * (i / 2500 % 2):
			return strings.Repeat(fmt.Sprint(i), 50_000)
		}
		return fmt.Sprint("word ", i)
	}
	for i := range 10_000 {
		names = append(names, texts.Put(word(i)))
	}
	for i, x := range names {
		if texts.Get(x) != word(i) {
			t.Fatalf("text %d is %.40q", i, texts.Get(x))
		}
	}
	places := map[Text]bool{}
	for i := 0; i < len(names); i += 5 {
		places[names[i]] = true
	}
	if len(places) > 100 {
		t.Errorf("a text that comes 2000 times lies there %d times", len(places))
	}
}

func TestListsHoldEachTextOnceInOrder(t *testing.T) {
	lists := NewLists(NewTexts())
	want := make([][]string, 7)
	for k := range 3000 { // the lists grow side by side, some long, one with gaps before it
		i, text := k%5+k%2, fmt.Sprint(k%(200*(k%5+1)))
		lists.Add(i, text)
		if !slices.Contains(want[i], text) {
			want[i] = append(want[i], text)
		}
	}
	for i := range want {
		if got := lists.List(i); !slices.Equal(got, want[i]) || lists.Len(i) != len(want[i]) {
			t.Errorf("list %d: %q, want %q", i, got, want[i])
		}
	}
	if lists.List(100) != nil {
		t.Error("a list that nothing was added to")
	}
}

func TestNamesAreNumberedInOrder(t *testing.T) {
	names := NewNames(NewTexts())
	for i := range 20_000 {
		k, known := names.Number(fmt.Sprint("name ", i%9000))
		if k != i%9000 || known != (i >= 9000) {
			t.Fatalf("name %d has number %d, known %v", i%9000, k, known)
		}
	}
	if names.Len() != 9000 || names.Get(4321) != "name 4321" {
		t.Errorf("%d names, %q", names.Len(), names.Get(4321))
	}
}
