package trial

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"tandem/core/clip"
	"tandem/core/plugin/conformance"
	"tandem/core/plugin/process"
	"tandem/core/tensor"
)

// checkInline checks that tensors in messages give the bits that tensors in shared memory give.
func (o *Options) checkInline(ctx context.Context, shared *process.Session) error {
	inline, err := o.session(true)
	if err != nil {
		return err
	}
	defer inline.Close()
	o.finding("without shared memory", "Tensors that travel in messages give the bits that those in shared memory give.",
		"a tensor with arena 0 has its bytes in inline; answer inline when the request names no place", func() error {
			a, err := o.sample(ctx, shared)
			if err != nil {
				return fmt.Errorf("with shared memory: %w", err)
			}
			b, err := o.sample(ctx, inline)
			if err != nil {
				return fmt.Errorf("without shared memory: %w", err)
			}
			if !slices.Equal(a, b) {
				return errors.New("the results have other bits than with shared memory")
			}
			return nil
		})
	return nil
}

// sample returns the bytes of one small result.
func (o *Options) sample(ctx context.Context, s *process.Session) ([]byte, error) {
	switch o.Descriptor.Kind {
	case clip.KindEncoder:
		return o.sampleEncoder(ctx, s)
	case clip.KindLoss:
		return o.sampleLoss(ctx, s)
	}
	return o.sampleDataset(ctx, s)
}

func (o *Options) sampleEncoder(ctx context.Context, s *process.Session) ([]byte, error) {
	e, err := o.encoder(ctx, s)
	if err != nil {
		return nil, err
	}
	defer e.Close()
	info, err := e.Configure(ctx, o.encoderConfig())
	if err != nil {
		return nil, err
	}
	out, _, err := e.Forward(ctx, forwardRequest(info, 3, clip.Eval))
	if err != nil {
		return nil, err
	}
	defer out.Free()
	return slices.Clone(out.Data), nil
}

// texts holds captions for trials.
var texts = []string{"a photo of a dog", "rain over the sea", "two red birds on a wire", "x"}

func (o *Options) encoderConfig() clip.EncoderConfig {
	return clip.EncoderConfig{With: o.With, EmbedDim: max(8, o.EmbedDim), Modality: o.Modality, Seed: 1, Optimizer: clip.Optimizer{Name: "adamw", Beta1: .9, Beta2: .98, Eps: 1e-6},
		Compute: o.compute(), Captions: texts}
}

// forwardRequest returns a request of n samples.
func forwardRequest(info clip.EncoderInfo, n int, mode clip.Mode) clip.ForwardRequest {
	q := clip.ForwardRequest{Mode: mode, Step: 1}
	if info.Modality == clip.Text {
		for i := range n {
			q.Texts = append(q.Texts, texts[i%len(texts)])
		}
		return q
	}
	q.Images = tensor.New(tensor.U8, n, info.ImageSize, info.ImageSize, 3)
	for i := range q.Images.Data {
		q.Images.Data[i] = byte(i * i >> 5)
	}
	return q
}

func (o *Options) sampleLoss(ctx context.Context, s *process.Session) ([]byte, error) {
	l, err := o.loss(ctx, s)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	if _, err := l.Configure(ctx, o.lossConfig(4)); err != nil {
		return nil, err
	}
	q := lossRequest(4, max(8, o.EmbedDim))
	q.Inputs = conformance.Further(o.Descriptor.Inputs, 4, max(8, o.EmbedDim))
	r, err := l.Compute(ctx, q)
	if err != nil {
		return nil, err
	}
	defer r.Free()
	all := slices.Concat(r.DImage.Data, r.DText.Data)
	for _, name := range slices.Sorted(maps.Keys(r.Gradients)) {
		all = append(all, r.Gradients[name].Data...)
	}
	return fmt.Appendf(all, "%x", r.Value), nil
}

func (o *Options) lossConfig(batch int) clip.LossConfig {
	c := clip.LossConfig{With: o.With, EmbedDim: max(8, o.EmbedDim), BatchSize: batch, Seed: 1,
		Optimizer: clip.Optimizer{Name: "adamw", Beta1: .9, Beta2: .98, Eps: 1e-6}, Compute: o.compute()}
	conformance.FurtherConfig(o.Descriptor.Inputs, &c)
	return c
}

// lossRequest returns a request of n pairs of unit rows.
func lossRequest(n, dim int) clip.LossRequest {
	rows := func(shift int) *tensor.Tensor {
		t := tensor.New(tensor.F32, n, dim)
		for i := range n {
			t.F32()[i*dim+(i+shift)%dim], t.F32()[i*dim+i%dim] = .6, .8
		}
		return t
	}
	return clip.LossRequest{Image: rows(1), Text: rows(2), Train: true}
}

func (o *Options) sampleDataset(ctx context.Context, s *process.Session) ([]byte, error) {
	d, err := o.dataset(ctx, s)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	info, err := d.Configure(ctx, o.datasetConfig())
	if err != nil {
		return nil, err
	}
	b, err := d.Batch(ctx, clip.BatchRequest{Indices: []int{0, info.Len - 1}, Train: true})
	if err != nil {
		return nil, err
	}
	defer b.Images.Free()
	return slices.Clone(b.Images.Data), nil
}

func (o *Options) datasetConfig() clip.DatasetConfig {
	size := o.ImageSize
	if size == 0 {
		size = 24
	}
	return clip.DatasetConfig{With: o.With, ImageSize: size, Seed: 1, Threads: max(1, o.Threads),
		Augment: &clip.Augment{Name: "random_resized_crop", Scale: [2]float64{.5, 1}, Ratio: [2]float64{.75, 4. / 3}, HFlip: .5}}
}
