package train_test

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"tandem/core/clip"
	"tandem/core/experiment/train"
	"tandem/core/tensor"
)

// eager implements an encoder that takes the next pictures when they are announced, and embeds those.
type eager struct {
	*linear
	id     uint64
	ahead  *tensor.Tensor
	used   int
	wrong  int
	unsaid int // pictures that were not announced
}

func (e *eager) Forward(ctx context.Context, q clip.ForwardRequest) (*tensor.Tensor, clip.Ticket, error) {
	switch {
	case q.ID != 0 && q.ID == e.id:
		e.used++
		if !slices.Equal(q.Images.Data, e.ahead.Data) {
			e.wrong++
		}
		q.Images = e.ahead
	default:
		e.unsaid++
	}
	if q.NextID != 0 {
		e.id, e.ahead = q.NextID, q.Next.Clone()
	}
	return e.linear.Forward(ctx, q)
}

// asking counts the batches that it is asked for.
type asking struct {
	counted
	asked *atomic.Int64
}

func (a asking) Batch(ctx context.Context, r clip.BatchRequest) (*clip.Batch, error) {
	a.asked.Add(1)
	return a.counted.Batch(ctx, r)
}

func TestNextPicturesAreThoseOfTheNextForward(t *testing.T) {
	for _, micro := range []int{0, 4} {
		cfg := config("")
		cfg.MicroBatchSize = micro
		plain := parts()
		run(t, cfg, plain, newMemory(), train.Hooks{}, nil, "")

		p := parts()
		e := &eager{linear: p.Image.(*linear)}
		var live, asked atomic.Int64
		p.Image, p.Data, p.Ahead = e, asking{counted{p.Data.(*patterns), &live}, &asked}, true
		cfg.Prefetch = 4 // two wait: that of the next step and that of the one after
		parts := 1
		if micro > 0 {
			parts = cfg.BatchSize / micro
		}
		// A step begins once both are there: the one after them is being asked for, or none is left.
		ahead := train.Hooks{Step: func(r train.StepReport) {
			for want := min((r.Step+2)*parts+1, cfg.Steps*parts); asked.Load() < int64(want); {
				time.Sleep(time.Millisecond)
			}
		}}
		run(t, cfg, p, newMemory(), ahead, nil, "")
		p.Image = e.linear
		if !slices.Equal(weightsOf(plain), weightsOf(p)) {
			t.Errorf("micro_batch_size %d: weights differ", micro)
		}
		if e.wrong > 0 || e.used == 0 || e.unsaid > 3*parts { // those of the first steps and of the last
			t.Errorf("micro_batch_size %d: of the pictures, %d were announced, of them %d wrongly, and %d were not", micro, e.used, e.wrong, e.unsaid)
		}
		if n := live.Load(); n != 0 {
			t.Errorf("micro_batch_size %d: %d batches of pictures are left", micro, n)
		}
	}
}

// askingGallery counts the batches that it is asked for.
type askingGallery struct {
	*gallery
	asked atomic.Int64
}

func (a *askingGallery) Batch(ctx context.Context, r clip.BatchRequest) (*clip.Batch, error) {
	a.asked.Add(1)
	return a.gallery.Batch(ctx, r)
}

// Each rank announces its own pictures; those that were replaced after that are not taken for what was announced.
func TestEveryRankAnnouncesItsOwnPictures(t *testing.T) {
	cfg := config("")
	cfg.Prefetch = 4
	trained := func(ahead bool) []*rank {
		all := together(t, 2, cfg, parts, func(_ int, r *rank) {
			data := &askingGallery{gallery: &gallery{patterns: patterns{samples}, broken: 9}}
			image := r.parts.Image.(*inBuckets).linear
			r.parts.Data, r.parts.Image, r.parts.Ahead = data, newInBuckets(&eager{linear: image}, image), ahead
			r.hooks.Step = func(r train.StepReport) {
				for want := min(r.Step+3, cfg.Steps); ahead && data.asked.Load() < int64(want); {
					time.Sleep(time.Millisecond)
				}
			}
		})
		noErrors(t, all)
		return all
	}
	plain, announced := trained(false), trained(true)
	for i, r := range announced {
		if e := r.parts.Image.(*inBuckets).Encoder.(*eager); e.wrong > 0 || e.used == 0 {
			t.Errorf("rank %d: %d of its pictures were announced, %d wrongly", i, e.used, e.wrong)
		}
		if !slices.Equal(r.weights(), plain[0].weights()) {
			t.Errorf("rank %d: weights differ", i)
		}
		if told := slices.Contains(r.rec.events, "micro_batch"); told != (i == 0) {
			t.Errorf("rank %d tells %v", i, r.rec.events)
		}
	}
}

// With a second view the order of pictures is that of a micro-batch's passes: its own, those of the second view, then
// the next micro-batch's.
func TestSecondViewsAreAnnouncedToo(t *testing.T) {
	for _, micro := range []int{12, 4} {
		cfg, p := config(""), richParts()
		cfg.MicroBatchSize, cfg.Steps, p.Ahead = micro, 6, true
		e := &announced{tokenTower: p.Image.(*tokenTower), t: t}
		p.Image = e
		run(t, cfg, p, newMemory(), train.Hooks{}, nil, "")
		if e.kept < len(e.asked)/2 {
			t.Errorf("micro_batch_size %d: %d of %d pictures were announced", micro, e.kept, len(e.asked))
		}
	}
}

// announced holds every request for pictures against what was announced before.
type announced struct {
	*tokenTower
	t    *testing.T
	next clip.ForwardRequest
	kept int
}

func (e *announced) Forward(ctx context.Context, q clip.ForwardRequest) (*tensor.Tensor, clip.Ticket, error) {
	e.see(q)
	return e.tokenTower.Forward(ctx, q)
}

func (e *announced) ForwardTokens(ctx context.Context, q clip.ForwardRequest) (clip.TokenOutput, clip.Ticket, error) {
	e.see(q)
	return e.tokenTower.ForwardTokens(ctx, q)
}

func (e *announced) see(q clip.ForwardRequest) {
	if e.next.NextID != 0 {
		e.kept++
		if q.ID != e.next.NextID || &q.Images.Data[0] != &e.next.Next.Data[0] {
			e.t.Errorf("pictures %d come where %d were announced", q.ID, e.next.NextID)
		}
	}
	e.next = q
}
