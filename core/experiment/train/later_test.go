package train_test

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"tandem/core/clip"
	"tandem/core/engine/weights"
	"tandem/core/experiment/mixture"
	"tandem/core/experiment/train"
	"tandem/core/plugin/catalog"
	"tandem/core/plugin/process"
)

// atOnce hides that a plugin's stub can put steps off.
type (
	encoderAtOnce struct{ clip.Encoder }
	lossAtOnce    struct{ clip.Loss }
)

// Steps that come with the next forward give the bits of steps that are calls of their own: losses, evaluations between
// steps, checkpoints, and what a resumed run makes of them.
func TestStepsThatArePutOffGiveTheSameBits(t *testing.T) {
	f, err := weights.Open(filepath.Join("testdata", "openclip-vit.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var g training
	if err := json.Unmarshal([]byte(f.Metadata()["golden"]), &g); err != nil {
		t.Fatal(err)
	}
	plugins := buildPlugins(t)
	type result struct {
		values []float64 // losses, norms and embeddings
		steps  int       // calls of Step, as they are observed
		dir    string
	}
	do := func(putOff bool, stopAfter int, resume string) (r result) {
		session, err := process.NewSession(process.SessionOptions{Catalog: &catalog.Catalog{}})
		if err != nil {
			t.Fatal(err)
		}
		defer session.Close()
		p := g.parts(t, session, plugins, "host", nil)
		if !putOff {
			p.Image, p.Text, p.Loss = encoderAtOnce{p.Image}, encoderAtOnce{p.Text}, lossAtOnce{p.Loss}
		}
		r.dir = t.TempDir()
		stop := make(chan struct{})
		trainer, err := train.New(train.Config{
			Steps: 12, BatchSize: g.Batch, Sources: []mixture.Source{{Len: len(g.Captions), Shuffle: mixture.None}}, EvalEvery: 3, CheckpointEvery: 4,
			LR: func(int) float64 { return g.LR }, MaxGradNorm: .5, Parallel: true, Dir: r.dir,
		}, p, silent{}, train.Hooks{Step: func(report train.StepReport) {
			r.values = append(r.values, report.Loss, report.GradNorm)
			if report.Step == stopAfter {
				close(stop)
			}
		}, Evaluate: func(ctx context.Context, step int) error {
			out, _, err := p.Text.Forward(ctx, clip.ForwardRequest{Texts: []string{"a bag", "a coat"}, Mode: clip.Eval, Step: step})
			if err == nil {
				r.values = append(r.values, float64(out.F32()[0]), float64(out.F32()[g.EmbedDim]))
			}
			return err
		}})
		if err != nil {
			t.Fatal(err)
		}
		if resume != "" {
			if err := trainer.Resume(t.Context(), resume); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := trainer.Run(t.Context(), stop); err != nil {
			t.Fatal(err)
		}
		for _, process := range session.Processes() {
			for _, s := range process.Stats() {
				if s.Method == "Step" {
					r.steps += s.Calls
				}
			}
		}
		return r
	}
	plain, later := do(false, 0, ""), do(true, 0, "")
	if len(plain.values) != 2*12+2*4 || !slices.Equal(plain.values, later.values) {
		t.Errorf("at once %v, put off %v", plain.values, later.values)
	}
	if plain.steps != 36 || later.steps != 36 {
		t.Errorf("%d and %d steps of three plugins were observed", plain.steps, later.steps)
	}
	half := do(true, 7, "")
	rest := do(true, 0, train.CheckpointIn(half.dir, 7))
	if joined := append(half.values, rest.values...); !slices.EqualFunc(joined, plain.values, func(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) }) {
		t.Errorf("stopped after step 7 and resumed: %v, want %v", joined, plain.values)
	}
	for _, name := range []string{train.ImageFile, train.TextFile, train.LossFile} {
		for step, dirs := range map[int][2]string{4: {plain.dir, later.dir}, 8: {plain.dir, rest.dir}, 12: {later.dir, rest.dir}} {
			a, err1 := os.ReadFile(filepath.Join(train.CheckpointIn(dirs[0], step), name))
			b, err2 := os.ReadFile(filepath.Join(train.CheckpointIn(dirs[1], step), name))
			if err1 != nil || err2 != nil || !bytes.Equal(a, b) {
				t.Errorf("step %d: %s differs (%v, %v)", step, name, err1, err2)
			}
		}
	}
}
