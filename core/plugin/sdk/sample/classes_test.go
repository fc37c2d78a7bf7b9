package sample

import (
	"slices"
	"testing"
)

func TestClassesAreNumberedAsTheyCome(t *testing.T) {
	var c Classes
	for i, name := range []string{"b", "", "a", "b"} {
		if got, want := c.Add(name), []int32{0, -1, 1, 0}[i]; got != want {
			t.Errorf("%q is number %d, want %d", name, got, want)
		}
	}
	if c.ID("a") != 1 || c.ID("c") != -1 || !slices.Equal(c.Target("x").Classes, []string{"b", "a"}) {
		t.Errorf("%+v", c)
	}
}

func TestFoldersThatEndAlikeAreCalledByAllOfTheirPath(t *testing.T) {
	var c Classes
	for _, name := range []string{"animals/birds", "computer/games", "sports/games"} {
		c.Add(name)
	}
	if got := c.FolderTarget("folder", true).Classes; !slices.Equal(got, []string{"birds", "computer games", "sports games"}) {
		t.Errorf("%q", got)
	}
	if got := c.FolderTarget("folder", false).Classes; !slices.Equal(got, []string{"birds", "games", "games"}) {
		t.Errorf("%q", got)
	}
}
