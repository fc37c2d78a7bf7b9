// Package assess evaluates checkpoints of runs after the fact: by the evaluations of a suite, or by the run's own. What it finds
// is recorded beside the run, and what is recorded already is not computed again.
package assess

import (
	"context"
	"fmt"
	"time"

	"tandem/core/clip"
	"tandem/core/experiment/assemble"
	"tandem/core/experiment/eval"
	"tandem/core/experiment/lab"
	"tandem/core/experiment/spec"
	"tandem/core/fault"
	"tandem/core/results/metric"
	"tandem/core/results/store"
)

// Which weights are evaluated.
const (
	Live = "live"
	EMA  = "ema" // averaged (train.ema)
	Both = "both"
)

// Options says what is evaluated.
type Options struct {
	Suite      *spec.Suite // nil: the run's own evaluations
	Checkpoint string      // Last, All, Best or a step
	Weights    string      // Live, EMA or Both; "": Both of a run that keeps averages, else Live
	Again      bool        // also what is recorded already
	Keep       bool        // Result.Embedded; then everything is computed
	Version    string      // of the program, which is recorded
}

// Result holds what was found of one evaluation of one checkpoint by one set of weights.
type Result struct {
	Run         string            `json:"run"`
	Experiment  string            `json:"experiment"`
	Variant     string            `json:"variant"`
	Seed        int64             `json:"seed"`
	Step        int               `json:"step"`
	Evaluation  string            `json:"evaluation"` // its metrics are eval/EVALUATION/…
	Suite       string            `json:"suite"`      // "": the run's own evaluations
	Known       bool              `json:"known"`      // it was recorded already, and nothing was computed
	Metrics     []clip.Metric     `json:"-"`
	Embedded    *eval.Embedded    `json:"-"`
	Predictions []clip.Prediction `json:"-"` // of a classification by prompts that was computed

	Spec    *spec.Spec `json:"-"` // with the suite's evaluations
	Entry   spec.Eval  `json:"-"`
	Classes []string   `json:"-"` // of a classification by prompts that was computed
}

// Watcher hears what is going on.
type Watcher interface {
	assemble.Watcher
	// Measured is called for every result as soon as it is recorded, or found to be.
	Measured(Result)
}

// assessment evaluates one run.
type assessment struct {
	Options
	lab   lab.Lab
	run   *store.RunDetail
	own   *spec.Spec // as the run was recorded
	spec  *spec.Spec // with the evaluations that are to be made
	model *assemble.Model
	known map[place]store.Evaluation
	watch Watcher
	out   []Result

	// Of a model that is made (Made): what it is called, and what gives the towers its parameters.
	title string
	give  func(context.Context, *assemble.Model) error
}

// place names what was evaluated.
type place struct {
	name string
	step int
}

// Evaluate evaluates checkpoints of the run with an id. After an error, also that of a context that ended, the results are those
// that are recorded.
func Evaluate(ctx context.Context, l lab.Lab, id string, o Options, w Watcher) ([]Result, error) {
	a := &assessment{Options: o, lab: l, watch: w, known: map[place]store.Evaluation{}}
	defer w.Doing("")
	if err := a.find(ctx, id); err != nil {
		return nil, err
	}
	checkpoints, err := a.checkpoints(ctx)
	if err != nil {
		return nil, err
	}
	defer func() {
		if a.model != nil {
			_ = a.model.Close() // what was found is recorded
		}
	}()
	for i, c := range checkpoints {
		if err := a.checkpoint(ctx, c, i, len(checkpoints)); err != nil {
			return a.out, err
		}
	}
	return a.out, nil
}

// find reads what is known of the run and makes sure that it can be evaluated.
func (a *assessment) find(ctx context.Context, id string) error {
	r, err := store.OpenReader(a.lab.DB)
	if err != nil {
		return err
	}
	defer r.Close()
	if a.run, err = r.Get(ctx, id); err != nil {
		return err
	}
	if a.own, err = a.lab.RecordedSpec(a.run); err != nil {
		return err
	}
	for _, e := range a.run.Evaluations {
		a.known[place{e.Name, e.Step}] = e
	}
	a.spec = a.own
	if a.Suite != nil {
		a.spec = a.own.WithSuite(a.Suite)
	}
	averages := a.own.Averages(assemble.RoleImage) || a.own.Averages(assemble.RoleText)
	if a.Weights == "" {
		if a.Weights = Live; averages {
			a.Weights = Both
		}
	}
	switch {
	case len(a.spec.Eval) == 0:
		return fault.New(fault.Invalid, "the spec of run %s has no evaluations", a.run.ID).WithHint("--suite FILE names some; experiments/suites has suites")
	case a.Weights != Live && !averages:
		return fault.New(fault.Invalid, "run %s keeps no averaged weights", a.run.ID).WithHint("runs with train.ema do")
	case a.Suite == nil && a.run.Status == string(clip.StatusRunning):
		return fault.New(fault.Conflict, "run %s is in progress, and records its own evaluations", a.run.ID).
			WithHint("wait for it; a suite (--suite) can be evaluated meanwhile")
	}
	return a.namesAreFree()
}

// namesAreFree refuses a suite whose evaluations are called as others of the run that measure something else: their figures
// would stand in one curve.
func (a *assessment) namesAreFree() error {
	for i, e := range a.spec.Eval {
		sha := a.spec.EvalSHA256(i)
		at := assemble.EvalSection(i) + ".name"
		refuse := func(format string, args ...any) error {
			f := fault.New(fault.Conflict, format, args...).WithPath(at)
			if o := a.spec.Locate(at); o.Line > 0 {
				f.WithFile(o.Source, o.Line, o.Column)
			}
			return f
		}
		for k, own := range a.own.Eval {
			if a.Suite != nil && own.Name == e.Name && a.own.EvalSHA256(k) != sha {
				return refuse("%q is an evaluation of run %s's own, of something else", e.Name, a.run.ID).(*fault.Error).WithHint("give the suite's another name")
			}
		}
		for _, known := range a.run.Evaluations {
			if metric.Live(known.Name) == e.Name && known.SHA256 != sha && !a.Again {
				return refuse("run %s was measured by another %q already (suite %s, step %d, %s)", a.run.ID, e.Name, orOwn(known.Suite), known.Step, known.At).(*fault.Error).
					WithHint("give the suite's another name, or --again measures anew and forgets those figures")
			}
		}
	}
	return nil
}

func orOwn(suite string) string {
	if suite == "" {
		return "none"
	}
	return suite
}

// want says which weights an evaluation is still to be made by.
type want struct {
	entry          int
	live, averaged bool
}

// checkpoint makes the evaluations of a checkpoint that are not recorded yet; c is number nth of so many.
func (a *assessment) checkpoint(ctx context.Context, c lab.Checkpoint, nth, of int) error {
	var todo []want
	for i, e := range a.spec.Eval {
		x := want{entry: i}
		for _, name := range a.names(e.Name) {
			known, err := a.recorded(ctx, i, name, c.Step)
			if err != nil {
				return err
			}
			switch {
			case known != nil:
				a.tell(i, name, c.Step, eval.Figures{Metrics: known}, nil, true)
			case metric.IsAveraged(metric.Evaluated(name, "")):
				x.averaged = true
			default:
				x.live = true
			}
		}
		if x.live || x.averaged {
			todo = append(todo, x)
		}
	}
	if len(todo) == 0 {
		return nil
	}
	if err := a.load(ctx, c); err != nil {
		return err
	}
	plan := eval.NewPlan(a.jobs(todo))
	begun, embedded := time.Now(), 0
	for k, x := range todo {
		before := plan.Left()
		what := fmt.Sprintf("step %d: %s", c.Step, a.spec.Eval[x.entry].Name)
		if a.title != "" {
			what = fmt.Sprintf("%s: %s", a.title, a.spec.Eval[x.entry].Name)
		} else if of > 1 {
			what = fmt.Sprintf("checkpoint %d of %d, %s", nth+1, of, what)
		}
		a.watch.Doing("evaluating " + what)
		result, err := plan.Run(ctx, k, func(done, total int) {
			speed := float64(embedded+done) / time.Since(begun).Seconds()
			left := float64(max(0, before-done) + (of-nth-1)*(embedded+before))
			a.watch.Doing(fmt.Sprintf("evaluating %s %d/%d  ETA %s", what, done, total, seconds(left/speed)))
		})
		embedded += before - plan.Left()
		if err != nil {
			return assemble.PlaceEval(a.spec, err, x.entry)
		}
		if err := a.record(ctx, x, c.Step, result); err != nil {
			return err
		}
	}
	return nil
}

func seconds(s float64) string {
	return time.Duration(s * float64(time.Second)).Round(time.Second).String()
}

// names returns what an evaluation is called by each of the weights that are wanted.
func (a *assessment) names(name string) []string {
	switch a.Weights {
	case Live:
		return []string{name}
	case EMA:
		return []string{metric.Averaged(name)}
	}
	return []string{name, metric.Averaged(name)}
}

// recorded returns the figures of evaluation i under a name at a step; nil when they are to be computed.
func (a *assessment) recorded(ctx context.Context, i int, name string, step int) ([]clip.Metric, error) {
	if a.Again || a.Keep {
		return nil, nil
	}
	row, has := a.known[place{name, step}]
	mine := false // the run's own evaluation, made while it trained
	for k, own := range a.own.Eval {
		mine = mine || own.Name == metric.Live(name) && a.own.EvalSHA256(k) == a.spec.EvalSHA256(i)
	}
	if !mine && !(has && row.SHA256 == a.spec.EvalSHA256(i)) {
		return nil, nil
	}
	r, err := store.OpenReader(a.lab.DB)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	found, err := r.PointsOf(ctx, a.run.ID, name, step)
	if len(found) == 0 {
		return nil, err
	}
	return found, err
}

// jobs plans the evaluations that are to be made.
func (a *assessment) jobs(todo []want) []eval.Job {
	jobs := make([]eval.Job, len(todo))
	image, text := a.own.Averages(assemble.RoleImage), a.own.Averages(assemble.RoleText)
	for k, x := range todo {
		j := a.model.EvalJob(x.entry)
		j.Keep = a.Keep
		j.Average.Image, j.Average.Text = image && x.averaged, text && x.averaged
		if !x.live { // by averaged weights alone
			j.Name, j.Plain, j.Average.Image, j.Average.Text = metric.Averaged(j.Name), true, false, false
			j.Key = averagedKey(j.Key)
			if j.Train != nil {
				train := *j.Train
				train.Key = averagedKey(train.Key)
				j.Train = &train
			}
			if image {
				j.Image = eval.WithAverage(j.Image)
			}
			if text {
				j.Text = eval.WithAverage(j.Text)
			}
		}
		jobs[k] = j
	}
	return jobs
}

// averagedKey tells features of averaged weights from those of live ones.
func averagedKey(key string) string {
	if key == "" {
		return ""
	}
	return key + "\naveraged"
}

// record records what an evaluation found.
func (a *assessment) record(ctx context.Context, x want, step int, found eval.Result) error {
	e := a.spec.Eval[x.entry]
	for _, line := range assemble.EvalRemarks(e, a.model.Evals[x.entry].Info, found) {
		a.watch.Event(line.Level, fmt.Sprintf("%s (%s): %s", assemble.EvalSection(x.entry), e.Name, line.Text))
	}
	live := e.Name
	if !x.live {
		live = metric.Averaged(live)
	}
	if err := a.keep(ctx, x.entry, live, step, found, found.Figures, found.Embedded); err != nil || found.Averaged == nil {
		return err
	}
	return a.keep(ctx, x.entry, metric.Averaged(e.Name), step, found, *found.Averaged, nil)
}

// keep records the figures of evaluation i under a name and tells of them.
func (a *assessment) keep(ctx context.Context, i int, name string, step int, found eval.Result, f eval.Figures, embedded *eval.Embedded) error {
	row := store.Evaluation{Name: name, Step: step, SHA256: a.spec.EvalSHA256(i), Version: a.Version, Dataset: a.model.Evals[i].Info.Digest,
		Samples: found.Samples.Asked - found.Samples.Bad, LeftOut: found.Samples.Bad}
	if a.Suite != nil {
		row.Suite, row.SuiteSHA256 = a.Suite.Name, a.Suite.SHA256()
	}
	var outcomes []store.Outcomes
	for _, o := range f.Outcomes {
		of := name
		if o.Of != "" {
			of += "/" + o.Of
		}
		outcomes = append(outcomes, store.Outcomes{Evaluation: of, Target: o.Target, Predictions: o.Predictions})
	}
	db, err := a.lab.Database()
	if err != nil {
		return err
	}
	err = db.RecordEvaluation(context.WithoutCancel(ctx), a.run.ID, row, f.Metrics, outcomes)
	if closed := db.Close(); err == nil {
		err = closed
	}
	if err == nil {
		a.tell(i, name, step, f, embedded, false)
	}
	return err
}

// tell adds a result and tells the watcher.
func (a *assessment) tell(i int, name string, step int, f eval.Figures, embedded *eval.Embedded, known bool) {
	r := Result{Run: a.run.ID, Experiment: a.run.Experiment, Variant: a.run.Variant, Seed: a.run.Seed, Step: step, Evaluation: name,
		Known: known, Metrics: f.Metrics, Embedded: embedded, Spec: a.spec, Entry: a.spec.Eval[i]}
	if a.Suite != nil {
		r.Suite = a.Suite.Name
	}
	for _, o := range f.Outcomes {
		if o.Of == "" {
			r.Predictions = o.Predictions
		}
	}
	if z := r.Entry.ZeroShot; z != nil && a.model != nil {
		for _, t := range a.model.Evals[i].Info.Targets {
			if t.Name == z.Classes {
				r.Classes = t.Classes
			}
		}
	}
	a.out = append(a.out, r)
	a.watch.Measured(r)
}
