package task_test

import (
	"errors"
	"testing"

	"tandem/core/experiment/task"
)

func TestWalkBeginsWithOnesOwnPart(t *testing.T) {
	const trials, tasks = 103, 10
	first := map[int]int{}
	for index := range tasks {
		var seen []int
		if err := task.Walk(trials, index, tasks, func(i int) (bool, bool, error) {
			seen = append(seen, i)
			return false, true, nil
		}); err != nil {
			t.Fatal(err)
		}
		for i := range trials / tasks {
			first[seen[i]]++
		}
		if len(seen) != trials || seen[trials-1] != (seen[0]+trials-1)%trials {
			t.Errorf("task %d visits %d trials, from %d to %d", index, len(seen), seen[0], seen[len(seen)-1])
		}
	}
	if len(first) != tasks*(trials/tasks) {
		t.Errorf("%d trials are in somebody's first part", len(first))
	}
}

func TestWalkEndsWhereNothingIsToBeHad(t *testing.T) {
	visited := 0
	count := func(had func(i int) bool) int {
		visited = 0
		_ = task.Walk(100_000, 500, 1000, func(i int) (bool, bool, error) {
			visited++
			return had(i), true, nil
		})
		return visited
	}
	if n := count(func(int) bool { return false }); n != 256 {
		t.Errorf("after %d trials in vain", n)
	}
	if n := count(func(i int) bool { return i == 50_200 }); n != 201+256 {
		t.Errorf("after %d trials, one of which was had", n)
	}
	failed := errors.New("the folder is away")
	if err := task.Walk(3, 0, 1, func(int) (bool, bool, error) { return false, true, failed }); !errors.Is(err, failed) {
		t.Errorf("error %v", err)
	}
}
