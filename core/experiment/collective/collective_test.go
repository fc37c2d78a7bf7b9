package collective

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"
)

// together runs f on every rank of a group and returns the first error.
func together(groups []Group, f func(Group) error) error {
	errs := make([]error, len(groups))
	var all sync.WaitGroup
	for i, g := range groups {
		all.Go(func() { errs[i] = f(g) })
	}
	all.Wait()
	return errors.Join(errs...)
}

func TestRanksExchangeInTheirOrder(t *testing.T) {
	ctx := context.Background()
	err := together(Local(3), func(g Group) error {
		r := float32(g.Rank() + 1)
		all := make([]float32, 6)
		if err := g.GatherFloats(ctx, []float32{r, -r}, all); err != nil || !slices.Equal(all, []float32{1, -1, 2, -2, 3, -3}) {
			t.Errorf("gathered %v, %v", all, err)
		}
		sums := []float32{r, 10 * r, 1, 2, 3, 4}
		squares, err := g.Sum(ctx, sums)
		if err != nil || !slices.Equal(sums, []float32{6, 60, 3, 6, 9, 12}) || squares != 36+3600+9+36+81+144 {
			t.Errorf("sums %v, squares %v, %v", sums, squares, err)
		}
		share := make([]float32, 1)
		if err := g.SumShare(ctx, []float32{1, r, 100}, share); err != nil || share[0] != []float32{3, 6, 300}[g.Rank()] {
			t.Errorf("rank %d has the share %v, %v", g.Rank(), share, err)
		}
		got, err := BroadcastValue(ctx, g, g.Rank()+7)
		if err != nil || got != 7 {
			t.Errorf("broadcast %v, %v", got, err)
		}
		ranks, err := GatherValues(ctx, g, g.Rank())
		if err != nil || !slices.Equal(ranks, []int{0, 1, 2}) {
			t.Errorf("gathered %v, %v", ranks, err)
		}
		return g.Barrier(ctx)
	})
	if err != nil {
		t.Error(err)
	}
}

func TestARankThatAbortsEndsTheOthers(t *testing.T) {
	groups := Local(2)
	go func() {
		time.Sleep(10 * time.Millisecond)
		groups[1].Abort(errors.New("its plugin died"))
	}()
	err := groups[0].Barrier(context.Background())
	if err == nil || groups[0].Cause() == nil {
		t.Fatalf("error %v, cause %v", err, groups[0].Cause())
	}
	<-groups[0].Lost()
}
