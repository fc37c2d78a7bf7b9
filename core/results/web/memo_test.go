package web_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"tandem/core/results/web"
)

func TestAMemoMakesAValueOncePerStamp(t *testing.T) {
	m := web.NewMemo[int](2, time.Hour)
	made := 0
	get := func(key, stamp string) int {
		v, err := m.Get(key, stamp, func() (int, error) { made++; return made, nil })
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	if got := fmt.Sprint(get("a", "1"), get("a", "1"), get("a", "2"), get("b", "2"), get("a", "2")); got != "1 1 2 3 2" {
		t.Errorf("%s", got)
	}
	get("c", "1") // and b, which was used longest ago, is forgotten
	if got := fmt.Sprint(get("a", "2"), get("b", "2")); got != "2 5" {
		t.Errorf("%s", got)
	}
}

func TestAMemoKeepsNoError(t *testing.T) {
	m := web.NewMemo[int](2, time.Hour)
	if _, err := m.Get("a", "1", func() (int, error) { return 0, errors.New("no") }); err == nil {
		t.Error("no error")
	}
	if v, err := m.Get("a", "1", func() (int, error) { return 7, nil }); v != 7 || err != nil {
		t.Errorf("%d, %v", v, err)
	}
}

func TestManyWaitForOneValue(t *testing.T) {
	m := web.NewMemo[int](2, time.Hour)
	var wait sync.WaitGroup
	made := 0 // not guarded: the race detector finds two at a time
	for range 8 {
		wait.Go(func() { _, _ = m.Get("a", "1", func() (int, error) { made++; return made, nil }) })
	}
	wait.Wait()
	if made != 1 {
		t.Errorf("made %d times", made)
	}
}
