// Package blend mixes the weights of models of one shape, and evaluates what comes out: on the line between two (WiSE-FT, Wortsman
// et al. 2022, arXiv 2109.01903, §3) or in the middle of several (a uniform model soup, Wortsman et al. 2022, arXiv 2203.05482, §2).
package blend

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"tandem/core/clip"
	"tandem/core/engine/weights"
	"tandem/core/experiment/assemble"
	"tandem/core/experiment/assess"
	"tandem/core/experiment/lab"
	"tandem/core/experiment/publish"
	"tandem/core/experiment/spec"
	"tandem/core/fault"
	"tandem/core/files/leftover"
	"tandem/core/results/store"
)

// Options says what is blended and how it is evaluated.
type Options struct {
	Models   []string   // runs (an id, a prefix or latest; @STEP names a checkpoint), weights files or checkpoint folders
	Spec     *spec.Spec // of the towers when no model is a run
	Averaged bool       // the averaged weights (train.ema) of runs and checkpoint folders
	Suite    *spec.Suite
	Again    bool   // also what is recorded already
	Version  string // of the program, which is recorded
}

// Blend holds models of one shape that can be mixed.
type Blend struct {
	Models  []Model
	lab     lab.Lab
	spec    *spec.Spec // of the last model that is a run
	options Options
	made    *assess.Made
	watch   assess.Watcher
	dir     string // of parameters that are on their way into towers
	release func()
}

// Point is one mixture.
type Point struct {
	Alpha  float64   // of a line; the share of the second model
	Shares []float64 // of each model; they add up to 1
	Name   string    // alpha=0.3 or uniform
}

// Found is what is known of a point.
type Found struct {
	Point
	Run     string
	Results []assess.Result
}

// Along returns the point (1 − alpha)·A + alpha·B, alpha in [0, 1].
func Along(alpha float64) Point {
	return Point{Alpha: alpha, Shares: []float64{1 - alpha, alpha}, Name: "alpha=" + strconv.FormatFloat(alpha, 'g', -1, 64)}
}

// Uniform returns the mean of n models.
func Uniform(n int) Point {
	p := Point{Name: "uniform", Shares: make([]float64, n)}
	for i := range p.Shares {
		p.Shares[i] = 1 / float64(n)
	}
	return p
}

// Open finds the models and makes sure that they can be mixed: parameters of the same names and shapes, the same settings of both
// towers, the same tokenizer. What keeps them from it is fault.Invalid. The towers are started for weights files alone, which say
// less than a checkpoint.
func Open(ctx context.Context, l lab.Lab, o Options, w assess.Watcher) (_ *Blend, err error) {
	b := &Blend{lab: l, options: o, watch: w}
	defer w.Doing("")
	defer func() {
		if err != nil {
			b.Close()
		}
	}()
	if b.dir, b.release, err = leftover.Dir("tandem-blend-"); err != nil {
		return nil, fault.New(fault.Exhausted, "%w", err)
	}
	if err := b.find(ctx); err != nil {
		return nil, err
	}
	b.made = assess.NewMade(l, b.spec, assess.Options{Suite: o.Suite, Again: o.Again, Version: o.Version}, w)
	for i := range b.Models {
		if err := b.open(ctx, &b.Models[i]); err != nil {
			return nil, err
		}
	}
	for _, m := range b.Models[1:] {
		if err := alike(b.Models[0], m); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// Close ends the towers and closes the files.
func (b *Blend) Close() {
	for _, m := range b.Models {
		if m.parameters != nil {
			m.parameters.Close()
		}
	}
	if b.made != nil {
		_ = b.made.Close() // what was found is recorded
	}
	if b.release != nil {
		b.release()
	}
}

// Experiment returns the experiment that the points' runs are of.
func (b *Blend) Experiment() string { return b.spec.Name + "-blend" }

// Write writes a point's parameters for OpenCLIP, as publish.Export does.
func (b *Blend) Write(p Point, out string) (publish.Exported, error) {
	return publish.Write(b.mixed(p), "open_clip", out)
}

// Evaluate makes the evaluations of points that are not recorded yet, and records each point as a run of Experiment, at step 0. After
// an error, also that of a context that ended, it returns the points with what is recorded of them.
func (b *Blend) Evaluate(ctx context.Context, points []Point) (found []Found, err error) {
	if len(b.spec.Eval) == 0 && b.options.Suite == nil {
		return nil, fault.New(fault.Invalid, "the spec of the models has no evaluations").WithHint("--suite FILE names some; experiments/suites has suites")
	}
	db, err := b.lab.Database()
	if err != nil {
		return nil, err
	}
	defer db.Close()
	for i, p := range points {
		f, err := b.evaluate(ctx, db, p, i, len(points))
		if len(f.Results) > 0 {
			found = append(found, f)
		}
		if ctx.Err() != nil && err != nil { // whatever could not be done then
			err = fault.New(fault.Canceled, "interrupted; what is complete is recorded, and the same command goes on")
		}
		if err != nil {
			return found, err
		}
	}
	return found, nil
}

// evaluate evaluates point number nth of so many.
func (b *Blend) evaluate(ctx context.Context, db *store.DB, p Point, nth, of int) (f Found, err error) {
	f.Point = p
	if f.Run, err = b.run(ctx, db, p); err != nil {
		return f, err
	}
	title := p.Name
	if of > 1 {
		title = fmt.Sprintf("model %d of %d, %s", nth+1, of, p.Name)
	}
	f.Results, err = b.made.Evaluate(ctx, f.Run, title, nth, of, func(ctx context.Context, m *assemble.Model) error { return b.load(ctx, m, p) })
	return f, err
}

// run returns the id of a point's run. Where there is none it records one that is done, as imported weights are.
func (b *Blend) run(ctx context.Context, db *store.DB, p Point) (id string, err error) {
	s, err := spec.Parse(b.spec.File, []byte(b.spec.YAML(false)), spec.Options{Catalog: assemble.NewCatalog(b.lab.Catalog), Begun: true,
		Set: []string{"name=" + b.Experiment(), "variant=" + b.variant(p)}})
	if err != nil {
		return "", err
	}
	used, err := b.lab.Plugins(s)
	if err != nil {
		return "", err
	}
	digests, params, terms := used.Digests(), map[string]any{}, make([]string, len(b.Models))
	for i, m := range b.Models {
		share := strconv.FormatFloat(p.Shares[i], 'g', -1, 64)
		key := "blend." + strconv.Itoa(i)
		digests[key] = share + " " + m.digest
		params[key+".model"], params[key+".share"] = m.Name(), p.Shares[i]
		terms[i] = share + " of " + m.Name() + " (sha256 " + m.digest + ")"
	}
	if b.options.Averaged {
		digests["blend"] = "averaged"
	}
	identity := s.Identity(digests)
	r, err := store.OpenReader(b.lab.DB)
	if err != nil {
		return "", err
	}
	defer r.Close()
	if id, err = r.FindDone(ctx, identity); err != nil || id != "" {
		return id, err
	}
	towers, err := b.made.Towers(ctx) // they say how large they are, and an error leaves no run behind
	if err != nil {
		return "", err
	}
	meta := assemble.Meta(s, used, identity, 0)
	maps.Copy(meta.Params, params)
	rec, id, err := claim(ctx, db, meta)
	if rec == nil {
		return id, err
	}
	_, err = b.lab.MakeDir(rec.ID(), s)
	err = errors.Join(err, rec.Event("info", "blended", strings.Join(terms, " + "), ""), towers.Summary.Record(rec))
	status := clip.StatusDone
	if err != nil {
		status = clip.StatusFailed
	}
	return rec.ID(), errors.Join(err, rec.Finish(context.WithoutCancel(ctx), status, err))
}

// claim begins the run of a point. It returns no run when another process has recorded it meanwhile, and waits for one that is about to.
func claim(ctx context.Context, db *store.DB, meta store.RunMeta) (*store.Run, string, error) {
	for {
		c, err := db.Claim(ctx, meta, store.ClaimOptions{Newest: func(string, []store.Checkpoint) (int, error) { return -1, nil }})
		if err != nil || c.Run != nil || c.Status != clip.StatusRunning {
			return c.Run, c.ID, err
		}
		select {
		case <-ctx.Done():
			return nil, "", ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// variant names a point among all blends of the experiment: what the run that gave the spec is a variant of, the other models, and
// where between them it is.
func (b *Blend) variant(p Point) string {
	var parts []string
	if b.spec.Variant != "" {
		parts = append(parts, b.spec.Variant)
	}
	for _, m := range b.Models {
		if m.spec != b.spec || m.spec == nil {
			parts = append(parts, "with="+m.label(int64(b.spec.Seed)))
		}
	}
	if b.options.Averaged {
		parts = append(parts, "weights=ema")
	}
	return strings.Join(append(parts, p.Name), ",")
}

// load gives the towers a point's parameters, through a file as published ones come in.
func (b *Blend) load(ctx context.Context, m *assemble.Model, p Point) error {
	b.watch.Doing("blending " + p.Name)
	mixed := b.mixed(p)
	path := filepath.Join(b.dir, "model.safetensors")
	if err := weights.Write(path, mixed.Tensors, mixed.Meta); err != nil {
		return err
	}
	remarks, err := m.LoadWeights(ctx, path)
	b.remark(remarks)
	return err
}

func (b *Blend) remark(remarks []string) {
	for _, r := range remarks {
		b.watch.Event("info", r)
	}
}
