// Package storetest makes results databases of any size through the store's public interface, for
// benchmarks and for tests of what reads them.
package storetest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/random"
	"tandem/core/results"
	"tandem/core/results/store"
)

// Size says how large a database is made. Every run records Metrics metrics at Points steps.
type Size struct {
	Runs, Metrics, Points int
	Seed                  uint64 // the same numbers for the same seed
}

// Total returns the number of values of all metrics of all runs.
func (s Size) Total() int { return s.Runs * s.Metrics * s.Points }

// What a large database holds: experiments of cellsPerExperiment planned cells, seeds to a variant,
// and examples predictions to a run.
const (
	cellsPerExperiment = 500
	seeds              = 10
	examples           = 100
)

// Metric decides in every experiment.
const Metric = "eval/emoji/top1"

// names lists the metrics of real runs, in the order in which they are taken; numbered ones follow.
var names = []string{
	"train/loss", Metric, "train/lr", "train/logit_scale", "train/grad_norm", "train/samples_per_s", "train/step_ms",
	"train/data_wait_ms", "eval/emoji/top5", "eval/emoji/mean_per_class_recall",
	"eval/emoji/image_to_text_R@1", "eval/emoji/image_to_text_R@5", "eval/emoji/image_to_text_R@10",
	"eval/emoji/image_to_text_mean_rank", "eval/emoji/image_to_text_median_rank",
	"eval/emoji/text_to_image_R@1", "eval/emoji/text_to_image_R@5", "eval/emoji/text_to_image_R@10",
	"eval/emoji/text_to_image_mean_rank", "eval/emoji/text_to_image_median_rank",
}

// Names returns the metrics of a database of n metrics.
func Names(n int) []string {
	all := append([]string(nil), names[:min(n, len(names))]...)
	for i := len(names); i < n; i++ {
		all = append(all, fmt.Sprintf("train/extra/%d", i))
	}
	return all
}

// Experiment returns the name of experiment i, counted from 0.
func Experiment(i int) string { return fmt.Sprintf("study-%03d", i) }

// Fill records size.Runs runs in experiments of up to 500 planned cells: 50 variants of two factors under
// ten seeds. Of every fifty runs one fails and is made again, one is stopped early and one interrupted; the
// last cell of an experiment stays without a run. done, when not nil, is called after each run with how many there are.
func Fill(ctx context.Context, db *store.DB, size Size, done func(runs int)) error {
	if size.Runs < 1 || size.Metrics < 1 || size.Points < 1 {
		return fault.New(fault.Invalid, "%d runs × %d metrics × %d points: each has to be at least 1", size.Runs, size.Metrics, size.Points)
	}
	f := filler{db: db, size: size, names: Names(size.Metrics)}
	f.values = make([]clip.Metric, size.Metrics)
	for e := 0; f.runs < size.Runs; e++ {
		if err := f.experiment(ctx, e, done); err != nil {
			return err
		}
	}
	return nil
}

type filler struct {
	db     *store.DB
	size   Size
	names  []string
	values []clip.Metric
	runs   int
}

func (f *filler) experiment(ctx context.Context, number int, done func(int)) error {
	e := store.Experiment{
		Name: Experiment(number), Metric: Metric, Design: "grid", Baseline: variant(0),
		Factors: []results.Factor{{Name: "width"}, {Name: "loss"}},
	}
	var cells []store.Cell
	for i := range min(cellsPerExperiment, f.size.Runs-f.runs+1) {
		v := i / seeds
		c := store.Cell{Variant: variant(v), Seed: int64(i % seeds), Levels: map[string]string{"width": fmt.Sprint(v / 5), "loss": fmt.Sprint(v % 5)}}
		sum := sha256.Sum256(fmt.Append(nil, e.Name, c.Variant, c.Seed))
		c.Identity = hex.EncodeToString(sum[:])
		cells = append(cells, c)
	}
	for level := range 10 {
		e.Factors[0].Levels = append(e.Factors[0].Levels, fmt.Sprint(level))
	}
	for level := range 5 {
		e.Factors[1].Levels = append(e.Factors[1].Levels, fmt.Sprint(level))
	}
	if err := f.db.Plan(ctx, e, cells); err != nil {
		return err
	}
	for _, c := range cells[:len(cells)-1] {
		ends := []clip.Status{clip.StatusDone}
		switch f.runs % 50 {
		case 17:
			ends = []clip.Status{clip.StatusFailed, clip.StatusDone}
		case 29:
			ends = []clip.Status{clip.StatusStopped}
		case 41:
			ends = []clip.Status{clip.StatusInterrupted}
		}
		for _, end := range ends {
			if f.runs == f.size.Runs {
				return nil
			}
			if err := f.run(ctx, e, c, end); err != nil {
				return err
			}
			f.runs++
			if done != nil {
				done(f.runs)
			}
		}
	}
	return nil
}

func variant(i int) string { return fmt.Sprintf("width=%d,loss=%d", i/5, i%5) }

func (f *filler) run(ctx context.Context, e store.Experiment, c store.Cell, end clip.Status) error {
	params, text := spec(e.Name, c)
	run, err := f.db.Begin(ctx, store.RunMeta{
		Experiment: e.Name, Metric: e.Metric, Variant: c.Variant, Seed: c.Seed, Identity: c.Identity,
		Spec: text, Params: params, Plugins: plugins, Device: "cpu", DatasetDigest: sha('d'), GitCommit: sha('e')[:40],
		Threads: map[string]int{"image": 2, "text": 2, "loss": 2, "data.train": 1}, Libraries: map[string]string{"onednn": "2.6.3"},
	})
	if err != nil {
		return err
	}
	r := random.New(f.size.Seed, "dbgen", f.runs)
	level := 0.3 + 0.01*float64(len(c.Variant)) + 0.03*r.Float64()
	for step := 1; step <= f.size.Points; step++ {
		for m, name := range f.names {
			f.values[m] = clip.Metric{Name: name, Value: level * (1 - math.Exp(-float64(step*(m+1))/50)) * (1 + 0.1*r.Float64())}
		}
		if err := run.Metrics(10*step, f.values); err != nil {
			return err
		}
	}
	if err := run.SetFacts(facts); err != nil {
		return err
	}
	if err := run.Predictions(10*f.size.Points, "emoji", "label", predictions(r, level)); err != nil {
		return err
	}
	if err := run.SetSources([]store.Source{{Role: "data.train", Digest: sha('d'), Samples: 1000, Seen: 640 * f.size.Points, Replaced: 3}}); err != nil {
		return err
	}
	if err := run.SetSkips("data.train", store.StageReplaced, []clip.Skip{{Reason: "truncated picture", Count: 3, First: "a.png"}}); err != nil {
		return err
	}
	if err := run.Event("info", "trained", "the last step is done", ""); err != nil {
		return err
	}
	if err := run.Checkpoint(10*f.size.Points, "results/runs/"+run.ID()+"/step-00000500"); err != nil {
		return err
	}
	var cause error
	if end == clip.StatusFailed {
		cause = fault.New(fault.PluginDied, "the process ended").WithPlugin("losses/clip")
	}
	return run.Finish(ctx, end, cause)
}

func predictions(r *random.Stream, level float64) []clip.Prediction {
	p := make([]clip.Prediction, examples)
	for i := range p {
		first := int32(i)
		if r.Float64() > level {
			first = int32(r.IntN(examples))
		}
		p[i] = clip.Prediction{Key: fmt.Sprintf("1f6%02x/twitter", i), Label: int32(i), Score: float32(r.Float64()),
			Top: []int32{first, int32(r.IntN(examples)), int32(r.IntN(examples)), int32(r.IntN(examples)), int32(r.IntN(examples))}}
	}
	return p
}
