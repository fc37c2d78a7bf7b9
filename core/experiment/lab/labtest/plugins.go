package labtest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"tandem/core/clip"
	"tandem/core/engine/weights"
	"tandem/core/fault"
	"tandem/core/plugin/sdk"
	"tandem/core/tensor"
)

// Side gives the side of the pictures that Tint takes, in pixels.
const Side = 4

// Context limits the tokens that Letters reads of a text.
const Context = 6

// Tint describes an encoder that embeds pictures by their mean colours.
var Tint = sdk.Encoder{Name: "tint", Version: "1.0.0", Summary: "embeds mean colours", Modality: clip.Image,
	Capabilities: []string{clip.CapFreeze, clip.CapBuckets}, Config: towerConfig{}, New: func() clip.Encoder { return &tower{modality: clip.Image} }}

// Letters describes an encoder that embeds texts by their letters.
var Letters = sdk.Encoder{Name: "letters", Version: "1.0.0", Summary: "embeds letters", Modality: clip.Text,
	Capabilities: []string{clip.CapFreeze, clip.CapBuckets}, Config: towerConfig{}, New: func() clip.Encoder { return &tower{modality: clip.Text} }}

type towerConfig struct {
	Dim int `with:"dim" min:"0" help:"claim another width than was asked for; 0: do not"`
}

// tower multiplies four features of a sample by one weight each and normalises the row. Its gradient is only
// roughly one, but it is always the same.
type tower struct {
	modality clip.Modality
	weights  []float32 // [D]
	gradient []float32 // [D]
	kept     map[clip.Ticket][]float32
	last     clip.Ticket
	frozen   bool
	work     float64

	mu     sync.Mutex    // guards gradient and passed, which Gradients reads beside a backward pass
	passed chan struct{} // closed when the last backward pass of a step is done
}

var (
	_ clip.Meter        = (*tower)(nil)
	_ clip.TokenCounter = (*tower)(nil)
)

func (e *tower) Configure(_ context.Context, c clip.EncoderConfig) (clip.EncoderInfo, error) {
	var cfg towerConfig
	if err := sdk.Decode(c.With, &cfg); err != nil {
		return clip.EncoderInfo{}, err
	}
	e.weights, e.gradient, e.kept, e.frozen = make([]float32, c.EmbedDim), make([]float32, c.EmbedDim), map[clip.Ticket][]float32{}, c.Freeze.All
	e.passed = make(chan struct{})
	for d := range e.weights {
		e.weights[d] = 1 + float32(c.Seed%7)/10 + float32(d)/10
	}
	info := clip.EncoderInfo{Modality: e.modality, EmbedDim: c.EmbedDim, Parameters: int64(c.EmbedDim), Backend: "plain", FLOPs: float64(c.EmbedDim), Fixed: e.frozen}
	if cfg.Dim > 0 {
		info.EmbedDim = cfg.Dim
	}
	if info.BucketSizes = []int{c.EmbedDim}; e.frozen {
		info.Frozen, info.BucketSizes = info.Parameters, nil
	}
	if e.modality == clip.Image {
		info.ImageSize = Side
	} else {
		info.ContextLength, info.VocabSize = Context, 256
	}
	return info, nil
}

// features returns the four features of each sample, f32 [B, 4], all above 0.
func (e *tower) features(q clip.ForwardRequest) [][4]float32 {
	if q.Images == nil {
		rows := make([][4]float32, len(q.Texts))
		for i, text := range q.Texts {
			rows[i] = [4]float32{1, 1, 1, 1}
			for j := range len(text) {
				rows[i][text[j]%4] += float32(text[j]%16) / 16
			}
		}
		return rows
	}
	rows := make([][4]float32, q.Images.Shape[0])
	size := len(q.Images.Data) / len(rows)
	for i := range rows {
		rows[i] = [4]float32{1, 1, 1, 1}
		for j, v := range q.Images.Data[i*size : (i+1)*size] {
			rows[i][j%3] += float32(v) / 255 / float32(size)
		}
	}
	return rows
}

func (e *tower) Forward(_ context.Context, q clip.ForwardRequest) (*tensor.Tensor, clip.Ticket, error) {
	rows, dim := e.features(q), len(e.weights)
	out := tensor.New(tensor.F32, len(rows), dim)
	values := out.F32()
	for i, f := range rows {
		row, sum := values[i*dim:(i+1)*dim], 0.0
		for d := range row {
			row[d] = f[d%4] * e.weights[d]
			sum += float64(row[d]) * float64(row[d])
		}
		for d := range row {
			if q.Mode != clip.Raw {
				row[d] = float32(float64(row[d]) / math.Sqrt(sum))
			}
		}
	}
	e.work += float64(len(values))
	if q.Mode != clip.Train || e.frozen {
		return out, 0, nil
	}
	e.last++
	e.kept[e.last] = slices.Clone(values)
	return out, e.last, nil
}

func (e *tower) Backward(_ context.Context, t clip.Ticket, grad *tensor.Tensor) error {
	kept, ok := e.kept[t]
	if !ok {
		return fault.New(fault.Conflict, "ticket %d is unknown", t)
	}
	delete(e.kept, t)
	e.mu.Lock()
	defer e.mu.Unlock()
	for i, g := range grad.F32() {
		e.gradient[i%len(e.weights)] += g * kept[i]
	}
	return nil
}

func (e *tower) Discard(_ context.Context, t clip.Ticket) error { delete(e.kept, t); return nil }

func (e *tower) GradNorm(context.Context) (sum float64, err error) {
	for _, g := range e.gradient {
		sum += float64(g) * float64(g)
	}
	return sum, nil
}

func (e *tower) Step(_ context.Context, _ int, lr, scale float64) error {
	for d := range e.weights {
		if !e.frozen {
			e.weights[d] -= float32(lr*scale) * e.gradient[d]
		}
		e.gradient[d] = 0
	}
	return nil
}

// tensor names the weights as published models name theirs: visual.* is of pictures, anything else of texts.
func (e *tower) tensor() string {
	if e.modality == clip.Image {
		return "visual.tint"
	}
	return "letters"
}

func (e *tower) Save(_ context.Context, path string) error {
	return weights.Write(path, []weights.Tensor{weights.FromF32(e.tensor(), e.weights, len(e.weights))}, map[string]string{
		"format": weights.EncoderFormat, "embed_dim": fmt.Sprint(len(e.weights)), "config": "{}"})
}

func (e *tower) Load(_ context.Context, path string) error { return load(path, e.tensor(), e.weights) }

func (e *tower) Close() error { return nil }

// Work implements clip.Meter.
func (e *tower) Work() float64 { return e.work }

// CountTokens implements clip.TokenCounter: a word is a token, beside those of start and end.
func (e *tower) CountTokens(_ context.Context, _ *clip.EncoderConfig, texts []string) ([]int, int, error) {
	tokens := make([]int, len(texts))
	for i, text := range texts {
		tokens[i] = 2 + len(strings.Fields(text))
	}
	return tokens, Context, nil
}

// load reads a tensor of so many values, whatever its shape.
func load(path, name string, values []float32) error {
	f, err := weights.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, ok := f.Info(name)
	if !ok {
		return fault.New(fault.Invalid, "there is no tensor %q", name).WithFile(path, 0, 0)
	}
	read, err := f.F32(name, info.Shape...)
	if err != nil {
		return err
	}
	if len(read) != len(values) {
		return fault.New(fault.Invalid, "%s has %d values, want %d", name, len(read), len(values)).WithFile(path, 0, 0)
	}
	copy(values, read)
	return nil
}

// Pull describes a loss that pulls pairs together: the mean of 1 − cos. It has one parameter, the log of a scale that
// it reports and does not use.
var Pull = sdk.Loss{Name: "pull", Version: "1.0.0", Summary: "pulls pairs together", New: func() clip.Loss { return &pull{} }}

type pull struct{ scale []float32 }

func (l *pull) Configure(context.Context, clip.LossConfig) (clip.LossInfo, error) {
	l.scale = []float32{float32(math.Log(10))}
	return clip.LossInfo{Parameters: 1, Backend: "plain"}, nil
}

func (l *pull) Compute(_ context.Context, q clip.LossRequest) (*clip.LossResult, error) {
	n := float32(q.Image.Shape[0])
	r := &clip.LossResult{Value: 1, Scalars: map[string]float64{"logit_scale": math.Exp(float64(l.scale[0]))}}
	for i, v := range q.Image.F32() {
		r.Value -= float64(v*q.Text.F32()[i]) / float64(n)
	}
	r.Parts = map[string]float64{"pull": r.Value}
	if q.Train {
		r.DImage, r.DText = q.Text.Clone(), q.Image.Clone()
		for i := range r.DImage.F32() {
			r.DImage.F32()[i] /= -n
			r.DText.F32()[i] /= -n
		}
	}
	return r, nil
}

// Pull2 describes the version of Pull that SecondPull is.
var Pull2 = sdk.Loss{Name: "pull", Version: "2.0.0", Summary: "pulls pairs together, and is off by a little from step 4 on", New: func() clip.Loss { return &pull2{} }}

type pull2 struct {
	pull
	computed int
}

func (l *pull2) Compute(ctx context.Context, q clip.LossRequest) (*clip.LossResult, error) {
	r, err := l.pull.Compute(ctx, q)
	if l.computed++; err == nil && l.computed >= 4 {
		r.Value += 1e-3
	}
	return r, err
}

func (l *pull) GradNorm(context.Context) (float64, error)         { return 0, nil }
func (l *pull) Step(context.Context, int, float64, float64) error { return nil }
func (l *pull) Save(_ context.Context, path string) error {
	return weights.Write(path, []weights.Tensor{weights.FromF32("logit_scale", l.scale, 1)}, nil)
}
func (l *pull) Load(_ context.Context, path string) error { return load(path, "logit_scale", l.scale) }
func (l *pull) Close() error                              { return nil }

// Dots describes a dataset of pictures of one colour each, with two captions. Target parity has the classes even and
// odd.
var Dots = sdk.Dataset{Name: "dots", Version: "1.0.0", Summary: "pictures of one colour", Config: dotsDefaults,
	Capabilities: []string{clip.CapNegatives, clip.CapView2},
	New:          func() clip.Dataset { return &dots{} }}

type dotsConfig struct {
	Samples int    `with:"samples" min:"1" help:"how many"`
	Refused int    `with:"refused" min:"0" help:"how many more records there were"`
	Broken  int    `with:"broken" help:"a sample that cannot be read; -1: none"`
	Stop    string `with:"stop" help:"as long as there is this file, no sample of training comes"`
	File    string `with:"file" type:"path" help:"a file that the digest depends on"`
	Long    bool   `with:"long" help:"captions that no text encoder reads to their end"`
	Fade    bool   `with:"fade" help:"pictures that are darker in every epoch, and in a second view"`
	// Negatives are the names of the dots that follow.
	Negatives int `with:"negatives" min:"0" help:"texts of each sample that do not fit it"`
}

var dotsDefaults = dotsConfig{Samples: 32, Broken: -1}

type dots struct {
	dotsConfig
	side int
}

func (d *dots) Configure(_ context.Context, c clip.DatasetConfig) (clip.DatasetInfo, error) {
	d.dotsConfig, d.side = dotsDefaults, c.ImageSize
	if err := sdk.Decode(c.With, &d.dotsConfig); err != nil {
		return clip.DatasetInfo{}, err
	}
	var content []byte
	if d.File != "" {
		var err error
		if content, err = os.ReadFile(d.File); err != nil {
			return clip.DatasetInfo{}, fault.New(fault.NotFound, "%w", err)
		}
	}
	sum := sha256.Sum256(fmt.Append(content, d.Samples))
	return clip.DatasetInfo{Len: d.Samples, Skipped: d.Refused, Digest: hex.EncodeToString(sum[:]), Note: "made up", Fixed: !d.Fade, Negatives: d.Negatives,
		Targets: []clip.Target{{Name: "parity", Classes: []string{"even", "odd"}}}}, nil
}

func (d *dots) caption(i int) string {
	if d.Long {
		return strings.Repeat("very ", Context) + fmt.Sprintf("long dot %d", i)
	}
	return fmt.Sprintf("dot %d", i)
}

func (d *dots) Batch(_ context.Context, q clip.BatchRequest) (*clip.Batch, error) {
	if d.Stop != "" && q.Train {
		if _, err := os.Stat(d.Stop); err == nil {
			return nil, fault.New(fault.Unavailable, "%s is there", d.Stop)
		}
	}
	b := &clip.Batch{Images: tensor.New(tensor.U8, len(q.Indices), d.side, d.side, 3), Labels: map[string][]int32{}}
	size := d.side * d.side * 3
	if q.View2 {
		b.Images2 = tensor.New(tensor.U8, b.Images.Shape...)
	}
	for at, i := range q.Indices {
		for p := range size {
			v := (i*37 + p%3*80) % 256
			if d.Fade && q.Train {
				v /= 1 + q.Epoch
			}
			b.Images.Data[at*size+p] = byte(v)
			if q.View2 {
				b.Images2.Data[at*size+p] = byte(v / 2)
			}
		}
		if q.Negatives {
			var texts []string
			for k := range d.Negatives {
				texts = append(texts, d.caption((i+1+k)%d.Samples))
			}
			b.Negatives = append(b.Negatives, texts)
		}
		b.Captions = append(b.Captions, d.caption(i))
		b.Keys = append(b.Keys, fmt.Sprintf("dot-%d", i))
		b.Groups = append(b.Groups, int64(i))
		b.Labels["parity"] = append(b.Labels["parity"], int32(i%2))
		if !q.Train {
			b.All = append(b.All, []string{d.caption(i), fmt.Sprintf("spot %d", i)})
		}
		if i == d.Broken {
			b.Faults = append(b.Faults, clip.SampleFault{Index: i, Key: b.Keys[at], Msg: "no picture", Reason: "no picture"})
		}
	}
	return b, nil
}

func (d *dots) Captions(_ context.Context, limit int) (list []string, err error) {
	for i := range d.Samples {
		if limit > 0 && i >= limit {
			break
		}
		list = append(list, d.caption(i))
	}
	return list, nil
}

func (d *dots) Close() error { return nil }

// SetScale replaces the scale in a file that Pull saved.
func SetScale(t testing.TB, path string, scale float64) {
	t.Helper()
	Must(t, weights.Write(path, []weights.Tensor{weights.FromF32("logit_scale", []float32{float32(math.Log(scale))}, 1)}, nil))
}
