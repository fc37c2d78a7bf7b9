// Package gallery shows samples of datasets, without any model: those of a spec's training data (Peek), and those
// of a run's evaluations for its report (Open).
package gallery

import (
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"slices"

	"tandem/core/clip"
	"tandem/core/experiment/assemble"
	"tandem/core/experiment/mixture"
	"tandem/core/experiment/spec"
	"tandem/core/fault"
	"tandem/core/plugin/catalog"
	"tandem/core/tensor"
)

// Sample holds one training sample as the towers get it.
type Sample struct {
	Index    int      `json:"index"`
	Key      string   `json:"key"`
	Caption  string   `json:"caption"`  // as drawn for training
	Captions []string `json:"captions"` // all there are
	// Negatives are texts that do not describe it, as drawn for training; nil where the data gives none.
	Negatives []string          `json:"negatives,omitempty"`
	Labels    map[string]string `json:"labels"`
	Group     int64             `json:"group"`
	Tokens    int               `json:"tokens,omitempty"` // of Caption whole; 0: unknown
	// Unreadable says why there is no picture; its place on the sheet is black.
	Unreadable string `json:"unreadable,omitempty"`
}

// Peeked tells what a look at a dataset found.
type Peeked struct {
	Plugin    string   `json:"plugin"`
	Len       int      `json:"samples"`
	Skipped   int      `json:"skipped"`
	Note      string   `json:"note"`
	Digest    string   `json:"digest"`
	ImageSize int      `json:"image_size"`
	Targets   []string `json:"targets"`
	Samples   []Sample `json:"shown"`
	// Remarks tell what is not as it should be, a sentence each.
	Remarks []string `json:"remarks"`
	// Captions counts those whose tokens were counted, the first of the set; Cut of them have more than Context.
	Captions int `json:"captions"`
	Cut      int `json:"captions_cut"`
	Longest  int `json:"captions_longest"`
	Context  int `json:"context_length"`

	pictures *tensor.Tensor // u8 [n, S, S, 3]
}

// Peek shows n training samples of a spec, spread over the set, augmented as in the first epoch. The
// size of the pictures is image.with.image_size, or 224; the text encoder is asked how long captions are, without
// being configured.
func Peek(ctx context.Context, c *catalog.Catalog, s *spec.Spec, n int) (*Peeked, error) {
	starter, err := assemble.NewStarter(c, s)
	if err != nil {
		return nil, err
	}
	defer starter.Close()
	size := imageSize(s)
	d, err := starter.TrainingData(ctx, size)
	if err != nil {
		return nil, err
	}
	info := d.Info
	out := &Peeked{Plugin: d.Name(), Len: info.Len, Skipped: info.Skipped, Note: info.Note, Digest: info.Digest, ImageSize: size, Remarks: assemble.Unguarded(s)}
	for _, t := range info.Targets {
		out.Targets = append(out.Targets, t.Name)
	}
	n = min(n, info.Len)
	indices := make([]int, n)
	spread(indices, d, info.Len)
	drawn, err := d.Batch(ctx, clip.BatchRequest{Indices: indices, Train: true, Negatives: info.Negatives > 0})
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
		if drawn.Negatives != nil {
			sample.Negatives = drawn.Negatives[i]
		}
		for _, t := range info.Targets {
			if label := drawn.Labels[t.Name]; label != nil && label[i] >= 0 {
				sample.Labels[t.Name] = t.Classes[label[i]]
			}
		}
		out.Samples = append(out.Samples, sample)
	}
	for _, f := range append(drawn.Faults, plain.Faults...) {
		for i := range out.Samples {
			if out.Samples[i].Index == f.Index {
				out.Samples[i].Unreadable = f.Msg
			}
		}
	}
	if info.Skipped > 0 {
		remark := clip.CountOf(info.Skipped, info.Skipped+info.Len, "records are refused") + because(info.Skips)
		if first := clip.SayFirst(info.Skips); first != "" {
			remark += "; " + first
		}
		out.Remarks = append(out.Remarks, remark)
	}
	out.Remarks = append(out.Remarks, info.Remarks...)
	broken := 0
	for _, x := range out.Samples {
		if x.Unreadable != "" {
			broken++
		}
	}
	if broken > 0 {
		out.Remarks = append(out.Remarks, clip.CountOf(broken, len(out.Samples), "samples shown cannot be read"))
	}
	err = out.countTokens(ctx, starter, d)
	if fault.KindOf(err) == fault.Canceled {
		return nil, err
	}
	if err != nil {
		out.Remarks = append(out.Remarks, "the captions' tokens are not counted: "+err.Error())
	}
	return out, nil
}

// spread chooses samples spread over a set, of every source of a mixture as many.
func spread(indices []int, d *assemble.Dataset, n int) {
	parts := []int{n}
	if m, ok := d.Dataset.(*mixture.Dataset); ok {
		parts = nil
		for _, member := range m.Members() {
			parts = append(parts, member.Info.Len)
		}
	}
	first, at := 0, 0
	for k, size := range parts {
		part := min(len(indices)*(k+1)/len(parts)-at, size)
		for i := range part {
			indices[at+i] = first + i*size/part
		}
		first, at = first+size, at+part
	}
	for next := 0; at < len(indices); next++ { // of a source with fewer
		if !slices.Contains(indices[:at], next) {
			indices[at] = next
			at++
		}
	}
}

// maxCounted limits the captions whose tokens a peek counts.
const maxCounted = 20_000

// countTokens asks the text encoder how long the captions are, without configuring it. An encoder that does not
// count leaves the figures at 0.
func (p *Peeked) countTokens(ctx context.Context, starter *assemble.Starter, d clip.Dataset) error {
	texts := make([]string, 0, len(p.Samples))
	for _, x := range p.Samples {
		texts = append(texts, x.Caption)
	}
	all, err := d.Captions(ctx, maxCounted)
	if err != nil {
		return err
	}
	tokens, limit, ok, err := starter.CountTokens(ctx, d, append(texts, all...))
	if fault.KindOf(err) == fault.Unavailable || err == nil && !ok {
		return nil
	}
	if err != nil {
		return err
	}
	blank := 0
	p.Context, p.Captions = limit, len(all)
	for i, n := range tokens {
		if i < len(p.Samples) {
			p.Samples[i].Tokens = n
			continue
		}
		p.Longest = max(p.Longest, n)
		if limit > 0 && n > limit {
			p.Cut++
		}
		if n <= 2 {
			blank++
		}
	}
	if p.Cut > 0 {
		p.Remarks = append(p.Remarks, fmt.Sprintf("%s are longer than the context of %d tokens and are cut; the longest has %d",
			clip.CountOf(p.Cut, p.Captions, "captions"), limit, p.Longest))
	}
	if blank > 0 {
		p.Remarks = append(p.Remarks, clip.CountOf(blank, p.Captions, "captions")+" say nothing to the text encoder: no token is left of them")
	}
	return nil
}

// imageSize returns image.with.image_size where the encoder has such a setting, or 224.
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

// because lists the reasons for which records are refused, as a clause; "" where nobody told them.
func because(skips []clip.Skip) string {
	if len(skips) == 0 {
		return ""
	}
	return ": " + clip.SayReasons(skips)
}
