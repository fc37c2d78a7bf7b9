package main

import (
	"context"
	"encoding/json"
	"fmt"

	"tandem/core/clip"
	"tandem/core/experiment/spec"
)

// side is the number of cells along a side of what pictures are compared by.
const side = 16

// pictures holds the small pictures of a dataset and what is said of them.
type pictures struct {
	pixels   [][]float32
	captions [][]string
	labels   []map[string]string // class by target
	groups   []int64
}

// imageSize returns the side of the pictures that the image encoder reads.
func imageSize(s *spec.Spec) int {
	var with struct {
		ImageSize int `json:"image_size"`
	}
	if json.Unmarshal(s.Image.With, &with) == nil && with.ImageSize > 0 {
		return with.ImageSize
	}
	return 224
}

// read appends the samples of a dataset, the first limit of them (0: all). What cannot be read is left out.
func (p *pictures) read(ctx context.Context, d clip.Dataset, info clip.DatasetInfo, limit int) error {
	n := info.Len
	if limit > 0 {
		n = min(n, limit)
	}
	const together = 128
	for from := 0; from < n; from += together {
		var r clip.BatchRequest
		for i := from; i < min(n, from+together); i++ {
			r.Indices = append(r.Indices, i)
		}
		b, err := d.Batch(ctx, r)
		if err != nil {
			return err
		}
		bad := map[int]bool{}
		for _, f := range b.Faults {
			bad[f.Index] = true
		}
		size := b.Images.Shape[1]
		for at, i := range r.Indices {
			if bad[i] {
				continue
			}
			labels := map[string]string{}
			for _, t := range info.Targets {
				if l := b.Labels[t.Name]; at < len(l) && l[at] >= 0 {
					labels[t.Name] = t.Classes[l[at]]
				}
			}
			p.pixels = append(p.pixels, small(b.Images.U8()[at*size*size*3:][:size*size*3], size))
			p.captions = append(p.captions, b.All[at])
			p.labels = append(p.labels, labels)
			p.groups = append(p.groups, b.Groups[at])
		}
		b.Images.Free()
	}
	if len(p.pixels) == 0 {
		return fmt.Errorf("no picture of %d can be read", n)
	}
	return nil
}

// small returns the means of side × side cells of a picture, in 0 … 1.
func small(pix []byte, size int) []float32 {
	out := make([]float32, 3*side*side)
	count := make([]float32, side*side)
	for y := range size {
		for x := range size {
			cell := y*side/size*side + x*side/size
			count[cell]++
			for c := range 3 {
				out[3*cell+c] += float32(pix[3*(y*size+x)+c]) / 255
			}
		}
	}
	for i := range out {
		out[i] /= max(1, count[i/3])
	}
	return out
}

// nearest returns the picture that differs least from pixels.
func (p *pictures) nearest(pixels []float32) int {
	best, at := float32(-1), 0
	for i, other := range p.pixels {
		var sum float32
		for k, v := range other {
			d := v - pixels[k]
			sum += d * d
			if k%96 == 95 && best >= 0 && sum >= best {
				break
			}
		}
		if best < 0 || sum < best {
			best, at = sum, i
		}
	}
	return at
}
