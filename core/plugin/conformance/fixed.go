package conformance

import (
	"errors"
	"fmt"
	"slices"

	"tandem/core/clip"
)

// withoutImages checks that leaving pictures out changes nothing else.
func (c datasetCase) withoutImages() error {
	return c.with(augment, func(d *datasetTrial) error {
		q := clip.BatchRequest{Indices: d.someIndices(), Epoch: 2, Train: true}
		want, err := d.get(q)
		if err != nil {
			return err
		}
		q.NoImages = true
		got, err := d.Batch(ctx, q)
		if err != nil {
			return fmt.Errorf("without pictures: %w", err)
		}
		got.Images = want.Images // they may have come all the same
		want.Faults = nil        // of pictures that nobody asked for there are none
		return differ("without pictures", want, got)
	})
}

// fixed checks that a dataset which calls its pictures fixed does not change them by epoch or seed, and does
// not call random crops fixed.
func (c datasetCase) fixed() error {
	err := c.with(augment, func(d *datasetTrial) error {
		if d.info.Fixed {
			return errors.New("pictures that are cropped at random are called fixed")
		}
		return nil
	})
	if err != nil {
		return err
	}
	var first []byte
	for _, seed := range []uint64{1, 2} {
		d, err := c.start()
		if err != nil {
			return err
		}
		cfg := c.config(nil)
		cfg.Seed = seed
		info, err := d.Configure(ctx, cfg)
		if err != nil || !info.Fixed {
			return errors.Join(err, d.Close())
		}
		t := &datasetTrial{d, info, c.o.ImageSize}
		for epoch := range 2 {
			b, err := t.get(clip.BatchRequest{Indices: t.someIndices(), Epoch: epoch, Train: true})
			if err != nil {
				return errors.Join(err, d.Close())
			}
			if first == nil {
				first = b.Images.Data
			}
			if !slices.Equal(first, b.Images.Data) {
				return errors.Join(fmt.Errorf("fixed pictures are others in epoch %d with seed %d", epoch, seed), d.Close())
			}
		}
		if err := d.Close(); err != nil {
			return err
		}
	}
	return nil
}
