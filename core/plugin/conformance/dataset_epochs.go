package conformance

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/tensor"
)

// epochs checks that epochs differ in training only.
func (c datasetCase) epochs() error {
	return c.with(augment, func(d *datasetTrial) error {
		at := func(epoch int, train bool) (*clip.Batch, error) {
			return d.get(clip.BatchRequest{Indices: d.someIndices(), Epoch: epoch, Train: train})
		}
		a, err1 := at(0, false)
		b, err2 := at(1, false)
		x, err3 := at(0, true)
		y, err4 := at(1, true)
		if err := errors.Join(err1, err2, err3, err4); err != nil {
			return err
		}
		if err := differ("evaluation in two epochs", a, b); err != nil {
			return err
		}
		if checkSame("", x.Images, y.Images) == nil {
			return errors.New("a random crop is the same in two epochs")
		}
		if !slices.Equal(x.Keys, y.Keys) {
			return fmt.Errorf("keys change from epoch to epoch: %v and %v", x.Keys, y.Keys)
		}
		return nil
	})
}

func (c datasetCase) into() error {
	return c.with(nil, func(d *datasetTrial) error {
		indices := d.someIndices()
		want, err := d.get(clip.BatchRequest{Indices: indices})
		if err != nil {
			return err
		}
		into := tensor.New(tensor.U8, len(indices), d.size, d.size, 3)
		for i := range into.Data {
			into.Data[i] = byte(i) // what was there must not show
		}
		got, err := d.get(clip.BatchRequest{Indices: indices, Into: into})
		if err != nil {
			return err
		}
		if got.Images != into {
			return errors.New("the pictures are not in the request's Into")
		}
		return differ("with Into and without", want, got)
	})
}

func (c datasetCase) concurrent() error {
	return c.with(augment, func(d *datasetTrial) error {
		const n = 4
		request := func(i int) clip.BatchRequest {
			return clip.BatchRequest{Indices: d.someIndices(), Epoch: i, Train: true}
		}
		var got [n]*clip.Batch
		var errs [n]error
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() { errs[i] = catchPanic(func() (err error) { got[i], err = d.get(request(i)); return err }) })
		}
		wg.Wait()
		if err := errors.Join(errs[:]...); err != nil {
			return err
		}
		for i := range n {
			want, err := d.get(request(i))
			if err != nil {
				return err
			}
			if err := differ("alone and at the same time as others", want, got[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

func (c datasetCase) captions() error {
	return c.with(nil, func(d *datasetTrial) error {
		all, err1 := d.Captions(ctx, 0)
		again, err2 := d.Captions(ctx, 0)
		few, err3 := d.Captions(ctx, 3)
		if err := errors.Join(err1, err2, err3); err != nil {
			return err
		}
		if !slices.Equal(all, again) {
			return errors.New("captions come in another order the second time")
		}
		if len(few) > 3 || len(all) >= 3 && len(few) < 3 {
			return fmt.Errorf("%d captions with the limit 3, of %d", len(few), len(all))
		}
		seen := map[string]bool{}
		for _, text := range all {
			if seen[text] {
				return fmt.Errorf("the caption %q comes twice", text)
			}
			seen[text] = true
		}
		b, err := d.get(clip.BatchRequest{Indices: d.someIndices()})
		if err != nil {
			return err
		}
		for _, text := range b.Captions {
			if !seen[text] {
				return fmt.Errorf("the caption %q of a sample is not among the captions", text)
			}
		}
		return nil
	})
}

func (c datasetCase) cancellation() error {
	return c.with(nil, func(d *datasetTrial) error {
		q := clip.BatchRequest{Indices: d.someIndices()}
		_, err := d.Batch(canceledContext(), q)
		if err := wantKind("a cancelled Batch", err, fault.Canceled); err != nil {
			return err
		}
		_, err = d.get(q)
		return err
	})
}

func (c datasetCase) close() error {
	d, err := c.open(nil)
	if err != nil {
		return err
	}
	if err := errors.Join(d.Close(), d.Close()); err != nil {
		return err
	}
	unused, err := c.start() // never configured
	if err != nil {
		return err
	}
	return unused.Close()
}
