package train_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"testing"

	"tandem/core/clip"
	"tandem/core/engine/optim"
	"tandem/core/engine/tower/towertest"
	"tandem/core/engine/weights"
	"tandem/core/experiment/collective"
	"tandem/core/experiment/mixture"
	"tandem/core/experiment/train"
	"tandem/core/plugin/catalog"
	"tandem/core/plugin/process"
	"tandem/core/tensor"
)

// training holds a golden file of tools/goldens/openclip/trainings.py: what open_clip and torch.optim.AdamW
// did, in double precision.
type training struct {
	Losses      []float64 `json:"losses"`   // of every step
	Snapshot    int       `json:"snapshot"` // the step after which the file's arrays are the weights
	Batch       int       `json:"batch"`
	Together    bool      `json:"-"` // micro-batches are normalised together
	Captions    []string  `json:"captions"`
	LR          float64   `json:"lr"`
	Warmup      int       `json:"warmup"`
	Beta1       float64   `json:"beta1"`
	Beta2       float64   `json:"beta2"`
	Eps         float64   `json:"eps"`
	WeightDecay float64   `json:"weight_decay"`
	MaxGradNorm float64   `json:"max_grad_norm"`
	Loss        string    `json:"loss"`
	Act         string    `json:"act"`
	EmbedDim    int       `json:"embed_dim"`
	Vision      struct {
		ImageSize int             `json:"image_size"`
		PatchSize int             `json:"patch_size"`
		Width     int             `json:"width"`
		HeadWidth int             `json:"head_width"`
		PoolType  string          `json:"pool_type"`
		Layers    json.RawMessage `json:"layers"`
	} `json:"vision"`
	Text struct {
		ContextLength int `json:"context_length"`
		VocabSize     int `json:"vocab_size"`
		Width         int `json:"width"`
		Heads         int `json:"heads"`
		Layers        int `json:"layers"`
	} `json:"text"`
}

// Trainings of whole models, through the plugins' processes and the step loop, follow open_clip's: the
// same weights at the start and the same batches give its losses, within 10⁻⁴ of themselves over ten steps
// and 10⁻³ over all hundred, and its weights after ten, each array within 10⁻⁴ of its norm. A ResNet makes all steps on one device only,
// unless TANDEM_LONG=1.
func TestTrainingFollowsOpenCLIP(t *testing.T) {
	plugins := buildPlugins(t)
	for _, name := range []string{"vit", "vit-siglip", "resnet"} {
		f, err := weights.Open(filepath.Join("testdata", "openclip-"+name+".safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		var g training
		if err := json.Unmarshal([]byte(f.Metadata()["golden"]), &g); err != nil || len(g.Losses) < 100 {
			t.Fatalf("%d losses (%v)", len(g.Losses), err)
		}
		for _, device := range towertest.Devices() {
			steps := len(g.Losses)
			if device != towertest.Devices()[0] {
				steps = g.atMost(steps, 2*g.Snapshot)
			}
			t.Run(name+" on "+device, func(t *testing.T) { g.follow(t, f, plugins, device, steps) })
		}
		t.Run(name+" on ranks", func(t *testing.T) { g.onRanks(t, plugins, towertest.Devices()[0]) })
	}
}

// atMost returns how many steps to make of so many: fewer of a ResNet, whose steps take long.
func (g training) atMost(steps, ofResNet int) int {
	if g.Vision.PatchSize == 0 && os.Getenv("TANDEM_LONG") == "" {
		return min(steps, ofResNet)
	}
	return steps
}

// buildPlugins builds those that the trainings need as this test was built, and gives their folder.
func buildPlugins(t *testing.T) string {
	t.Helper()
	args := []string{"build"}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "-tags" {
				args = append(args, "-tags", s.Value)
			}
		}
	}
	dir := t.TempDir()
	args = append(args, "-o", dir+"/")
	for _, p := range []string{"encoders/vit", "encoders/resnet-attnpool", "encoders/transformer", "losses/clip", "losses/siglip"} {
		args = append(args, "../../../plugins/"+p)
	}
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		t.Fatalf("go %v: %v\n%s", args, err, out)
	}
	return dir
}

func (g training) follow(t *testing.T, want *weights.File, plugins, device string, steps int) {
	ctx := t.Context()
	session, err := process.NewSession(process.SessionOptions{Catalog: &catalog.Catalog{}})
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	parts := g.parts(t, session, plugins, device, nil)
	dir := t.TempDir()
	schedule := optim.Schedule{Kind: "cosine", Base: g.LR, WarmupSteps: g.Warmup, TotalSteps: len(g.Losses)}
	var losses []float64
	trainer, err := train.New(train.Config{
		Steps: steps, BatchSize: g.Batch, Sources: []mixture.Source{{Len: len(g.Captions), Shuffle: mixture.None}}, LR: schedule.At,
		MaxGradNorm: g.MaxGradNorm, Parallel: true, CheckpointEvery: g.Snapshot, Dir: dir,
	}, parts, silent{}, train.Hooks{Step: func(r train.StepReport) { losses = append(losses, r.Loss) }})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := trainer.Run(ctx, nil); err != nil {
		t.Fatal(err)
	}

	if len(losses) != steps {
		t.Fatalf("%d losses", len(losses))
	}
	worst, first := 0., 0.
	for i, want := range g.Losses[:steps] {
		e := math.Abs(losses[i]/want - 1)
		if i < g.Snapshot {
			first = math.Max(first, e)
		}
		worst = math.Max(worst, e)
	}
	if !(first <= 1e-4 && worst <= 1e-3) {
		t.Errorf("relative error of the loss is up to %.2g within %d steps and %.2g within %d, want 1e-4 and 1e-3",
			first, g.Snapshot, worst, len(losses))
	}
	apart := g.compare(t, want, filepath.Join(dir, fmt.Sprintf("step-%08d", g.Snapshot)))
	t.Logf("relative error: loss %.1e (%d steps), %.1e (%d steps); weights after %d steps %.1e",
		first, g.Snapshot, worst, len(losses), g.Snapshot, apart)
}

// compare holds every array of a checkpoint to ‖a − b‖ ≤ 10⁻⁴‖b‖ and gives the largest quotient.
func (g training) compare(t *testing.T, want *weights.File, checkpoint string) (worst float64) {
	seen := 0
	for _, file := range []string{train.ImageFile, train.TextFile, train.LossFile} {
		got, err := weights.Open(filepath.Join(checkpoint, file))
		if err != nil {
			t.Fatal(err)
		}
		defer got.Close()
		for _, name := range want.Names() {
			if _, ok := got.Info(name); !ok {
				continue
			}
			seen++
			a, err1 := got.F32(name)
			b, err2 := want.F32(name)
			if err1 != nil || err2 != nil || len(a) != len(b) {
				t.Fatalf("%s: %d and %d values (%v, %v)", name, len(a), len(b), err1, err2)
			}
			var difference, norm float64
			for i := range b {
				d := float64(a[i]) - float64(b[i])
				difference += d * d
				norm += float64(b[i]) * float64(b[i])
			}
			e := math.Sqrt(difference / norm)
			if !(e <= 1e-4) {
				t.Errorf("%s after %d steps: relative error %.2g", name, g.Snapshot, e)
			}
			worst = math.Max(worst, e)
		}
	}
	if n := len(want.Names()); seen != n || n < 30 {
		t.Errorf("%d of %d arrays are in the checkpoint", seen, n)
	}
	return worst
}

// parts returns the configured plugins with the golden run's initial weights. With a group, batch normalisation is that of
// all its ranks.
func (g training) parts(t *testing.T, session *process.Session, plugins, device string, group collective.Group) train.Parts {
	t.Helper()
	ctx := t.Context()
	compute := clip.Compute{Device: device, Threads: 2, Precision: "f32"}
	optimizer := clip.Optimizer{Name: "adamw", WeightDecay: g.WeightDecay, Beta1: g.Beta1, Beta2: g.Beta2, Eps: g.Eps, DecayEmbeddings: true}
	block := func(with map[string]any) json.RawMessage {
		raw, err := json.Marshal(with)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	p := train.Parts{Together: g.Together}
	tower := func(i int, label, plugin string, with map[string]any) clip.Encoder {
		e, _, err := session.StartEncoder(ctx, filepath.Join(plugins, plugin), process.StartOptions{Label: label, Threads: 2})
		if err != nil {
			t.Fatal(err)
		}
		p.Exchanges[i] = group != nil && plugin == "resnet-attnpool"
		info, err := e.Configure(ctx, clip.EncoderConfig{With: block(with), EmbedDim: g.EmbedDim, Optimizer: optimizer, Compute: compute, SyncNorm: i == 0 && g.Together})
		if err == nil && p.Exchanges[i] {
			err = e.(clip.Exchanger).Exchange(ctx, group.SumDoubles)
		}
		if err != nil {
			t.Fatal(err)
		}
		p.Buckets[i] = info.BucketSizes
		towertest.Rewrite(t, e, towertest.Value)
		return e
	}
	v := g.Vision
	image := map[string]any{"image_size": v.ImageSize, "width": v.Width, "layers": v.Layers}
	plugin := "resnet-attnpool"
	if v.PatchSize > 0 {
		plugin = "vit"
		image["patch_size"], image["head_width"], image["act"] = v.PatchSize, v.HeadWidth, g.Act
		if v.PoolType != "" {
			image["pool_type"] = v.PoolType
		}
	} else {
		image["heads"] = 32 * v.Width / v.HeadWidth
	}
	x := g.Text
	p.Data = &corpus{side: v.ImageSize, captions: g.Captions}
	p.Image = tower(0, "image", plugin, image)
	p.Text = tower(1, "text", "transformer", map[string]any{"context_length": x.ContextLength, "vocab_size": x.VocabSize,
		"width": x.Width, "heads": x.Heads, "layers": x.Layers, "act": g.Act, "tokenizer": "byte"})
	l, _, err := session.StartLoss(ctx, filepath.Join(plugins, g.Loss), process.StartOptions{Label: "loss", Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	with := map[string]any{}
	if g.Loss == "siglip" {
		with["auto_bias"] = true
	}
	_, err = l.Configure(ctx, clip.LossConfig{With: block(with), EmbedDim: g.EmbedDim, BatchSize: g.Batch, Optimizer: optimizer, Compute: compute})
	if err != nil {
		t.Fatal(err)
	}
	p.Loss = l
	return p
}

// corpus implements the golden run's data: pictures that are hashes, in order.
type corpus struct {
	clip.Dataset // what the step loop does not call
	side         int
	captions     []string
}

func (c *corpus) Batch(_ context.Context, r clip.BatchRequest) (*clip.Batch, error) {
	n := c.side * c.side * 3
	b := &clip.Batch{Images: r.Into}
	if b.Images == nil {
		b.Images = tensor.New(tensor.U8, len(r.Indices), c.side, c.side, 3)
	}
	for k, i := range r.Indices {
		name := fmt.Sprintf("picture %d", i)
		for j := range n {
			b.Images.U8()[k*n+j] = byte((towertest.Uniform(name, j) + 1) * 128)
		}
		b.Captions, b.Keys = append(b.Captions, c.captions[i]), append(b.Keys, name)
	}
	return b, nil
}

// silent implements a recorder of a run that nobody looks at.
type silent struct{}

func (silent) Metrics(int, []clip.Metric) error                         { return nil }
func (silent) Predictions(int, string, string, []clip.Prediction) error { return nil }
func (silent) Event(_, _, message, _ string) error                      { return fmt.Errorf("event: %s", message) }
func (silent) Checkpoint(int, string) error                             { return nil }
func (silent) Flush(context.Context) error                              { return nil }
