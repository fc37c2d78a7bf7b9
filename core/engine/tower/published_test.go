package tower

import (
	"context"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/engine/weights"
	"tandem/core/engine/weights/keymap"
	"tandem/core/fault"
	"tandem/core/tensor"
)

func published(t *testing.T, meta map[string]string, more ...weights.Tensor) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "published.safetensors")
	tensors := append([]weights.Tensor{
		weights.FromF32("module.visual.proj.weight", []float32{1, 2, 3, 4, 5, 6, 7, 8, 10}, 3, 3),
		weights.FromF32("module.visual.proj.bias", []float32{.5, -.5, .25}, 3),
		weights.FromF32("module.logit_scale", []float32{3}), weights.FromF32("module.ln_final.bias", []float32{3}, 1),
	}, more...)
	if err := weights.Write(path, tensors, meta); err != nil {
		t.Fatal(err)
	}
	return path
}

// learn takes a training step and gives the embeddings after it.
func learn(t *testing.T, e *encoder, step int) []float32 {
	t.Helper()
	ctx := context.Background()
	images, grad := request(2, clip.Train), tensor.New(tensor.F32, 2, 3)
	for i := range images.Images.U8() {
		images.Images.U8()[i] = byte(17 * i)
	}
	for i := range grad.F32() {
		grad.F32()[i] = float32(i) - 2
	}
	_, ticket, err := e.Forward(ctx, images)
	if err == nil {
		err = e.Backward(ctx, ticket, grad)
	}
	if err == nil {
		err = e.Step(ctx, step, .1, 1)
	}
	images.Mode = clip.Eval
	out, _, err2 := e.Forward(ctx, images)
	if err != nil || err2 != nil {
		t.Fatal(err, err2)
	}
	return out.F32()
}

// Published weights replace parameters and nothing is left of the optimiser's past.
func TestPublishedWeightsStartAnew(t *testing.T) {
	momentum := func() *encoder {
		e := Image(newMean).(*encoder)
		t.Cleanup(func() { e.Close() })
		_, err := e.Configure(context.Background(), clip.EncoderConfig{EmbedDim: 3, Seed: 1,
			Optimizer: clip.Optimizer{Name: "adamw", Beta1: .9, Beta2: .98, Eps: 1e-6}, Compute: clip.Compute{Device: "host", Threads: 1}})
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	path, ctx := published(t, map[string]string{"format": "pt"}), context.Background()
	fresh, used := momentum(), momentum()
	before := learn(t, used, 1)
	if err := used.Load(ctx, path); err != nil {
		t.Fatal(err)
	}
	if err := fresh.Load(ctx, path); err != nil {
		t.Fatal(err)
	}
	saved := filepath.Join(t.TempDir(), "s.safetensors")
	if err := used.Save(ctx, saved); err != nil {
		t.Fatal(err)
	}
	f, err := weights.Open(saved)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if v, err := f.F32("visual.proj.weight", 3, 3); err != nil || !slices.Equal(v, []float32{1, 2, 3, 4, 5, 6, 7, 8, 10}) {
		t.Errorf("the weight is %v (%v)", v, err)
	}
	got, want := learn(t, used, 1), learn(t, fresh, 1)
	if !slices.Equal(got, want) {
		t.Errorf("after a step %v, in a new encoder %v", got, want)
	}
	if slices.Equal(got, before) {
		t.Error("the weights changed nothing")
	}
}

func TestPublishedWeightsMustFit(t *testing.T) {
	e, ctx := configured(t), context.Background()
	before := learn(t, e, 1)
	for want, path := range map[string]string{
		`tensor "visual.more" is none of this encoder's`: published(t, nil, weights.FromF32("visual.more", []float32{1}, 1)),
		`a network with act "gelu", this one has none`:   published(t, map[string]string{keymap.MetaImage: `{"act": "gelu", "image_size": 2}`}),
	} {
		err := e.Load(ctx, path)
		if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want fault.Invalid with %q", err, want)
		}
	}
	path := filepath.Join(t.TempDir(), "other.safetensors")
	nan := []float32{1, 2, 3, float32(math.NaN()), 5, 6, 7, 8, 10}
	if err := weights.Write(path, []weights.Tensor{weights.FromF32("visual.proj.weight", nan, 3, 3), weights.FromF32("visual.proj.bias", nan[:3], 3)}, nil); err != nil {
		t.Fatal(err)
	}
	if err := e.Load(ctx, path); fault.KindOf(err) != fault.Numeric || !strings.Contains(err.Error(), `"visual.proj.weight": 1 of 9 values are not finite`) {
		t.Errorf("a NaN: %v", err)
	}
	if err := weights.Write(path, []weights.Tensor{weights.FromF32("visual.proj.weight", make([]float32, 6), 3, 2)}, nil); err != nil {
		t.Fatal(err)
	}
	if err := e.Load(ctx, path); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "visual.proj.weight") {
		t.Errorf("another shape: %v", err)
	}
	images := request(2, clip.Eval)
	for i := range images.Images.U8() {
		images.Images.U8()[i] = byte(17 * i)
	}
	out, _, err := e.Forward(ctx, images)
	if err != nil || !slices.Equal(out.F32(), before) {
		t.Errorf("refused weights changed the encoder (%v)", err)
	}
}

// An average begins anew with weights that were not trained here.
func TestPublishedWeightsStartTheAverageAnew(t *testing.T) {
	e := Image(newMean).(*encoder)
	t.Cleanup(func() { e.Close() })
	ctx := context.Background()
	if _, err := e.Configure(ctx, clip.EncoderConfig{
		EmbedDim: 3, Seed: 1, Optimizer: clip.Optimizer{Name: "sgd", EMADecay: .5}, Compute: clip.Compute{Device: "host", Threads: 1},
	}); err != nil {
		t.Fatal(err)
	}
	learn(t, e, 1)
	if err := e.Load(ctx, published(t, nil)); err != nil {
		t.Fatal(err)
	}
	for step := range 2 {
		req := request(2, clip.Eval)
		live, _, err := e.Forward(ctx, req)
		req.EMA = true
		average, _, err2 := e.Forward(ctx, req)
		if err != nil || err2 != nil || !slices.Equal(live.F32(), average.F32()) {
			t.Errorf("after %d steps the average gives %v, the parameters %v (%v, %v)", step, average.F32(), live.F32(), err, err2)
		}
		learn(t, e, step+1)
	}
}
