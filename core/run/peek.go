package run

import (
	"context"
	"encoding/json"
	"image"
	"image/color"
	"image/png"
	"io"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/host"
	"tandem/core/spec"
	"tandem/core/tensor"
)

// Sample is one training sample as the towers get it.
type Sample struct {
	Index    int               `json:"index"`
	Key      string            `json:"key"`
	Caption  string            `json:"caption"`  // as drawn for training
	Captions []string          `json:"captions"` // all there are
	Labels   map[string]string `json:"labels"`
	Group    int64             `json:"group"`
}

// Peeked is a look at a dataset.
type Peeked struct {
	Plugin    string   `json:"plugin"`
	Len       int      `json:"samples"`
	Skipped   int      `json:"skipped"`
	Note      string   `json:"note"`
	Digest    string   `json:"digest"`
	ImageSize int      `json:"image_size"`
	Targets   []string `json:"targets"`
	Samples   []Sample `json:"shown"`

	pictures *tensor.Tensor // u8 [n, S, S, 3]
}

// Peek shows n training samples of a spec, spread over the set, augmented as in the first epoch. No
// encoder is started: the size of the pictures is image.with.image_size, or 224.
func (l Lab) Peek(ctx context.Context, s *spec.Spec, n int) (*Peeked, error) {
	session, err := host.NewSession(host.SessionOptions{Catalog: l.Catalog})
	if err != nil {
		return nil, err
	}
	defer session.Close()
	limits := threads(s)
	d, p, err := session.StartDataset(ctx, s.Data.Train.Dataset, host.StartOptions{Label: roleData, Threads: limits[roleData]})
	if err != nil {
		return nil, err
	}
	size := imageSize(s)
	info, err := d.Configure(ctx, clip.DatasetConfig{With: s.Data.Train.With, ImageSize: size, Seed: s.Seed,
		Augment: s.Data.Train.Augment, Threads: limits[roleData], CacheDir: cacheDir()})
	if err != nil {
		return nil, place(s, err, roleData)
	}
	out := &Peeked{Plugin: p.Name(), Len: info.Len, Skipped: info.Skipped, Note: info.Note, Digest: info.Digest, ImageSize: size}
	for _, t := range info.Targets {
		out.Targets = append(out.Targets, t.Name)
	}
	n = min(n, info.Len)
	indices := make([]int, n)
	for i := range indices {
		indices[i] = i * info.Len / n
	}
	drawn, err := d.Batch(ctx, clip.BatchRequest{Indices: indices, Train: true})
	if err != nil {
		return nil, err
	}
	defer drawn.Images.Free()
	plain, err := d.Batch(ctx, clip.BatchRequest{Indices: indices})
	if err != nil {
		return nil, err
	}
	defer plain.Images.Free()
	out.pictures = tensor.New(tensor.U8, drawn.Images.Shape...)
	copy(out.pictures.Data, drawn.Images.Data)
	for i, index := range indices {
		sample := Sample{Index: index, Key: drawn.Keys[i], Caption: drawn.Captions[i], Captions: plain.All[i], Group: drawn.Groups[i],
			Labels: map[string]string{}}
		for _, t := range info.Targets {
			if label := drawn.Labels[t.Name]; label != nil && label[i] >= 0 {
				sample.Labels[t.Name] = t.Classes[label[i]]
			}
		}
		out.Samples = append(out.Samples, sample)
	}
	return out, nil
}

// imageSize is image.with.image_size where the encoder has such a setting.
func imageSize(s *spec.Spec) int {
	var with struct {
		ImageSize int `json:"image_size"`
	}
	if json.Unmarshal(s.Image.With, &with) == nil && with.ImageSize > 0 {
		return with.ImageSize
	}
	return 224
}

// Sheet writes the pictures side by side as a PNG, eight to a row.
func (p *Peeked) Sheet(w io.Writer) error {
	const columns, gap = 8, 2
	n, side := len(p.Samples), p.ImageSize
	if n == 0 {
		return fault.New(fault.Invalid, "no samples to draw")
	}
	cols := min(columns, n)
	rows := (n + columns - 1) / columns
	sheet := image.NewRGBA(image.Rect(0, 0, cols*(side+gap)+gap, rows*(side+gap)+gap))
	for i := range sheet.Pix {
		sheet.Pix[i] = 0xff
	}
	for i := range n {
		x0, y0 := gap+i%columns*(side+gap), gap+i/columns*(side+gap)
		for y := range side {
			for x := range side {
				at := ((i*side+y)*side + x) * 3
				c := p.pictures.Data[at : at+3]
				sheet.SetRGBA(x0+x, y0+y, color.RGBA{c[0], c[1], c[2], 0xff})
			}
		}
	}
	return png.Encode(w, sheet)
}
