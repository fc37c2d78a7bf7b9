package conformance

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"tandem/core/clip"
	"tandem/core/fault"
)

// augmentations checks what follows the crop: grey is the luma of what there is without it, colour jitter changes with the
// epoch and from view to view, and evaluation has neither.
func (c datasetCase) augmentations() error {
	if !slices.Contains(c.o.Capabilities, clip.CapAugment) {
		return notChecked("it augments by a crop alone")
	}
	get := func(a clip.Augment, check func(d *datasetTrial, eval, first, second *clip.Batch) error) error {
		return c.alone(&a, func(d *datasetTrial) error {
			q := clip.BatchRequest{Indices: d.someIndices(), Epoch: 1}
			eval, err1 := d.get(q)
			q.Train = true
			q.View2 = slices.Contains(c.o.Capabilities, clip.CapView2)
			first, err2 := d.get(q)
			q.Epoch = 2
			second, err3 := d.get(q)
			if err := errors.Join(err1, err2, err3); err != nil {
				return err
			}
			return check(d, eval, first, second)
		})
	}
	crop := *augment
	var plain []byte // training pictures of epoch 1 without more
	err := get(crop, func(_ *datasetTrial, _, first, _ *clip.Batch) error {
		plain = slices.Clone(first.Images.Data)
		return nil
	})
	if err != nil {
		return err
	}
	crop.Grayscale = 1
	err = get(crop, func(_ *datasetTrial, _, first, _ *clip.Batch) error {
		for i := 0; i < len(plain); i += 3 {
			r, g, b := uint32(plain[i]), uint32(plain[i+1]), uint32(plain[i+2])
			want := byte((r*19595 + g*38470 + b*7471 + 0x8000) >> 16)
			if got := first.Images.Data[i : i+3]; got[0] != want || got[1] != want || got[2] != want {
				return fmt.Errorf("a grey pixel is %v, want %d, the luma of %v", got, want, plain[i:i+3])
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("grayscale of probability 1: %w", err)
	}
	jitter := clip.Augment{Name: "none", ColorJitter: [4]float64{.8, .8, .8, .5}, ColorJitterProb: 1}
	err = get(jitter, func(d *datasetTrial, eval, first, second *clip.Batch) error {
		switch {
		case d.info.Fixed:
			return errors.New("pictures that change at random are called fixed")
		case checkSame("", eval.Images, first.Images) == nil:
			return errors.New("training has the pictures of evaluation")
		case checkSame("", first.Images, second.Images) == nil:
			return errors.New("two epochs have the same pictures")
		case first.Images2 != nil && checkSame("", first.Images, first.Images2) == nil:
			return errors.New("the second view is the first")
		}
		return c.alone(nil, func(d *datasetTrial) error {
			want, err := d.get(clip.BatchRequest{Indices: d.someIndices(), Epoch: 1})
			if err != nil {
				return err
			}
			return checkSame("evaluation with and without it", want.Images, eval.Images)
		})
	})
	if err != nil {
		return fmt.Errorf("colour jitter of probability 1: %w", err)
	}
	d, err := c.start()
	if err != nil {
		return err
	}
	cfg := c.config(&clip.Augment{Name: "none", Grayscale: 2})
	_, err = d.Configure(ctx, cfg)
	return errors.Join(wantKind("grayscale of probability 2", err, fault.Invalid), d.Close())
}

// keptPictures checks that a cache of pictures changes nothing, whether it is empty, filled, or used by nobody before.
func (c datasetCase) keptPictures() error {
	if !slices.Contains(c.o.Capabilities, clip.CapCache) {
		return notChecked("it keeps no pictures")
	}
	dir, err := os.MkdirTemp("", "kept-pictures-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	get := func(k *clip.PictureCache) (train, eval *clip.Batch, err error) {
		d, err := c.start()
		if err != nil {
			return nil, nil, err
		}
		cfg := c.config(augment)
		cfg.Cache, cfg.CacheDir = k, dir
		info, err := d.Configure(ctx, cfg)
		if err != nil {
			return nil, nil, errors.Join(err, d.Close())
		}
		t := &datasetTrial{d, info, c.o.ImageSize}
		q := clip.BatchRequest{Indices: t.someIndices(), Epoch: 1, Train: true}
		train, err1 := t.get(q)
		q.Train = false
		eval, err2 := t.get(q)
		return train, eval, errors.Join(err1, err2, d.Close())
	}
	for _, format := range []string{"raw", "jpeg"} {
		k := &clip.PictureCache{Format: format, MaxBytes: 64 << 20}
		if format == "raw" {
			k = nil // what it is held against
		}
		train, eval, err := get(k)
		if err != nil {
			return err
		}
		for _, what := range []string{"an empty cache", "a filled cache"} {
			t, e, err := get(&clip.PictureCache{Format: format, MaxBytes: 64 << 20})
			if err != nil {
				return fmt.Errorf("%s, %s: %w", format, what, err)
			}
			if err := errors.Join(differ(format+", training with "+what, train, t), differ(format+", evaluation with "+what, eval, e)); err != nil {
				return err
			}
		}
	}
	return nil
}
