package sample

import (
	"context"
	"syscall"
	"testing"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/media/vision"
)

// A store that gives nothing ends the batch: nothing is wrong with its samples, which would be skipped otherwise.
func TestAStoreThatIsAwayEndsTheBatch(t *testing.T) {
	for _, reason := range []string{clip.ReasonStore, clip.ReasonChanged} {
		set := plain(4)
		inner, away := set.Open, true
		set.Open = nil
		set.OpenContext = func(ctx context.Context, i int) (vision.Picture, error) {
			if away && i == 2 {
				return vision.Picture{}, fault.New(fault.Unavailable, "%w", syscall.ECONNREFUSED).WithReason(reason)
			}
			return inner(i)
		}
		d := configured(t, set, clip.DatasetConfig{Threads: 1})
		_, err := d.Batch(context.Background(), clip.BatchRequest{Indices: []int{0, 1, 2, 3}})
		if fault.KindOf(err) != fault.Unavailable || fault.ReasonOf(err) != reason {
			t.Errorf("%v", err)
		}
		away = false
		b, err := d.Batch(context.Background(), clip.BatchRequest{Indices: []int{0, 1, 2, 3}})
		if err != nil || len(b.Faults) > 0 {
			t.Errorf("later: %v, %v", b, err)
		}
	}
}

func TestReadingAPictureEndsWithTheBatch(t *testing.T) {
	set := plain(1)
	ctx, cancel := context.WithCancel(context.Background())
	set.OpenContext = func(ctx context.Context, i int) (vision.Picture, error) {
		cancel()
		<-ctx.Done()
		return vision.Picture{}, fault.New(fault.Canceled, "%w", ctx.Err())
	}
	if _, err := configured(t, set, clip.DatasetConfig{Threads: 1}).Batch(ctx, clip.BatchRequest{Indices: []int{0}}); fault.KindOf(err) != fault.Canceled {
		t.Errorf("%v", err)
	}
}
