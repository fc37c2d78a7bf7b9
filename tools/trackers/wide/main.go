// Wide serves a loss that pulls pairs together and has hundreds of numbers to report at each step: a run with it records a million points
// in some thousand steps.
package main

import (
	"context"
	"fmt"
	"math"
	"os"

	"tandem/core/clip"
	"tandem/core/plugin/sdk"
)

func main() {
	sdk.ServeLoss(sdk.Loss{Name: "wide", Version: "1.0.0", Summary: "pulls pairs together and reports much", Config: settings{Metrics: 300},
		New: func() clip.Loss { return &wide{} }})
}

type settings struct {
	Metrics int `with:"metrics" min:"1" help:"how many numbers it reports at each step"`
}

type wide struct {
	names []string
	step  int
}

func (w *wide) Configure(_ context.Context, c clip.LossConfig) (clip.LossInfo, error) {
	s := settings{Metrics: 300}
	if err := sdk.Decode(c.With, &s); err != nil {
		return clip.LossInfo{}, err
	}
	for i := range s.Metrics {
		w.names = append(w.names, fmt.Sprintf("m%03d", i))
	}
	return clip.LossInfo{Backend: "plain"}, nil
}

// Compute returns the mean of 1 − cos over the pairs.
func (w *wide) Compute(_ context.Context, q clip.LossRequest) (*clip.LossResult, error) {
	w.step++
	n := float32(q.Image.Shape[0])
	r := &clip.LossResult{Value: 1, Scalars: make(map[string]float64, len(w.names))}
	for i, v := range q.Image.F32() {
		r.Value -= float64(v*q.Text.F32()[i]) / float64(n)
	}
	for i, name := range w.names {
		r.Scalars[name] = r.Value * math.Sin(float64(w.step*(i+1)))
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

func (w *wide) GradNorm(context.Context) (float64, error)         { return 0, nil }
func (w *wide) Step(context.Context, int, float64, float64) error { return nil }

// Save writes a file of safetensors without tensors.
func (w *wide) Save(_ context.Context, path string) error {
	return os.WriteFile(path, []byte("\x02\x00\x00\x00\x00\x00\x00\x00{}"), 0o644)
}

func (w *wide) Load(context.Context, string) error { return nil }
func (w *wide) Close() error                       { return nil }
