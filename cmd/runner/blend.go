package main

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"tandem/core/experiment/assemble"
	"tandem/core/experiment/assess"
	"tandem/core/experiment/blend"
	"tandem/core/experiment/publish"
	"tandem/core/experiment/spec"
	"tandem/core/fault"
	"tandem/core/results/metric"
	"tandem/core/results/report"
)

// mostPoints limits the points of one curve.
const mostPoints = 1001

// chosenOnItself warns of a best point.
const chosenOnItself = "each best alpha is chosen on the very evaluation that it is best of, which makes its figure better than that of new data; " +
	"choose on one evaluation and report another"

func (a *app) blendCommand() *cobra.Command {
	var o blend.Options
	var alpha, which, suite, specFile, out string
	var at float64
	var uniform bool
	c := &cobra.Command{
		Use:   "blend A B --alpha 0:1:0.1 | A B… --uniform",
		Short: "mix the weights of models and evaluate what comes out",
		Long: `Mix the weights of models of one shape. With --alpha, models on the line (1 − alpha)·A + alpha·B between two (WiSE-FT, Wortsman et al.
2022): a curve of every evaluation, from A, as a rule what the fine-tuning began with, to B, what came out of it. With --uniform, the mean
of several (a uniform model soup, Wortsman et al. 2022). A and B are runs (an id, a prefix or latest, @STEP for a checkpoint that is not
the newest), weights files as init.weights takes, or checkpoint folders. Everything is mixed in float32: parameters, running statistics, and
the loss's scale as its logarithm. Adapters (LoRA) are merged before.

Evaluations are those of B's spec, or of a suite (--suite FILE). Each mixture is recorded as a run of the experiment of B with "-blend" at
its end, at step 0: show, leaderboard, compare, ablation and report then have its figures. What is recorded already is not computed again,
unless --again asks for it. Ctrl-C keeps every evaluation that is complete.

-o FILE writes the mixture that --at ALPHA (or --uniform) names with OpenCLIP's names, for init.weights, import and others; without --alpha
and --suite nothing is evaluated then.`,
		Example: "  runner blend model.safetensors latest --alpha 0:1:0.1 --suite experiments/suites/emoji.yaml\n" +
			"  runner blend 3f9k 8d2m -o mixed.safetensors --at 0.5\n  runner blend 3f9k@500 3f9k@1000 8d2m --uniform",
		Args: args(cobra.MinimumNArgs(2)),
	}
	a.pluginFlags(c)
	a.dbFlag(c)
	a.runsDirFlag(c)
	a.formatFlags(c, false)
	c.Flags().StringVar(&alpha, "alpha", "0:1:0.1", "`which`: FROM:TO:STEP, or values with commas; 0 is A and 1 is B")
	c.Flags().BoolVar(&uniform, "uniform", false, "the mean of all models")
	c.Flags().StringVar(&suite, "suite", "", "the `file` of a suite (default: the evaluations of the spec of B)")
	c.Flags().StringVar(&which, "weights", assess.Live, "`which` weights of runs: live or ema (averaged, train.ema)")
	c.Flags().StringVar(&specFile, "spec", "", "the `spec` of the models when none is a run")
	c.Flags().BoolVar(&o.Again, "again", false, "compute also what is recorded already, and replace it")
	c.Flags().StringVarP(&out, "output", "o", "", "write a mixture as a .safetensors `file`, its config beside it")
	c.Flags().Float64Var(&at, "at", 0, "with -o: the `alpha` of what is written")
	c.MarkFlagsMutuallyExclusive("alpha", "uniform")
	c.MarkFlagsMutuallyExclusive("at", "uniform")
	c.ValidArgsFunction = func(c *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
		words, _ := a.completeRun(c, nil, begun)
		return words, cobra.ShellCompDirectiveDefault // files too
	}
	_ = c.RegisterFlagCompletionFunc("suite", a.completeSpec)
	_ = c.RegisterFlagCompletionFunc("weights", cobra.FixedCompletions([]string{assess.Live, assess.EMA}, cobra.ShellCompDirectiveNoFileComp))
	c.RunE = func(c *cobra.Command, given []string) (err error) {
		set := func(flag string) bool { return c.Flags().Changed(flag) }
		points, written, err := blended(alpha, at, uniform, len(given), out != "", set)
		switch {
		case err != nil:
			return usage{err}
		case which != assess.Live && which != assess.EMA:
			return usage{fault.New(fault.Invalid, "unknown weights %q", which).WithHint("live or ema")}
		}
		o.Models, o.Averaged, o.Version = given, which == assess.EMA, version
		if specFile != "" {
			if o.Spec, err = a.lab().Load(specFile, nil); err != nil {
				return err
			}
		}
		if suite != "" {
			if o.Suite, err = spec.LoadSuite(suite, spec.Options{Catalog: assemble.NewCatalog(a.catalog)}); err != nil {
				return err
			}
		}
		if out != "" && !set("alpha") && suite == "" {
			points = nil
		}
		return a.blend(o, points, written, out)
	}
	return c
}

// blended returns the points that flags ask for, and the one that is to be written.
func blended(alpha string, at float64, uniform bool, models int, writes bool, given func(flag string) bool) (points []blend.Point, written blend.Point, err error) {
	switch {
	case uniform:
		p := blend.Uniform(models)
		return []blend.Point{p}, p, nil
	case models != 2:
		return nil, written, fault.New(fault.Invalid, "%d models have no line between them", models).WithHint("--uniform takes the mean of several")
	case writes != given("at"):
		return nil, written, fault.New(fault.Invalid, "-o FILE and --at ALPHA go together").WithHint("-o mixed.safetensors --at 0.5")
	case !(at >= 0 && at <= 1):
		return nil, written, fault.New(fault.Invalid, "--at %v is not between the models", at).WithHint("from 0, which is A, to 1, which is B")
	}
	alphas, err := parseAlphas(alpha)
	for _, x := range alphas {
		points = append(points, blend.Along(x))
	}
	return points, blend.Along(at), err
}

// parseAlphas reads FROM:TO:STEP or a list with commas, all in [0, 1]. It returns the values sorted, each once.
func parseAlphas(text string) ([]float64, error) {
	bad := func(format string, args ...any) error {
		return fault.New(fault.Invalid, "--alpha %s: "+format, append([]any{text}, args...)...).WithHint("0:1:0.1, or values from 0 to 1 with commas")
	}
	sep := ","
	if strings.Contains(text, ":") {
		sep = ":"
	}
	var values []float64
	for _, word := range strings.Split(text, sep) {
		v, err := strconv.ParseFloat(strings.TrimSpace(word), 64)
		if err != nil || !(v >= 0 && v <= 1) {
			return nil, bad("%q is no number from 0 to 1", word)
		}
		values = append(values, v)
	}
	if sep == ":" {
		if len(values) != 3 || values[2] == 0 || values[1] < values[0] {
			return nil, bad("want FROM:TO:STEP with a step above 0")
		}
		from, to, step := values[0], values[1], values[2]
		n := math.Floor((to-from)/step + 1e-9)
		if n >= mostPoints {
			return nil, bad("%v points are more than %d", n+1, mostPoints)
		}
		values = nil
		for i := range int(n) + 1 {
			values = append(values, math.Round((from+float64(i)*step)*1e9)/1e9)
		}
	}
	slices.Sort(values)
	return slices.Compact(values), nil
}

// blend evaluates points and writes one to out, unless that is "".
func (a *app) blend(o blend.Options, points []blend.Point, written blend.Point, out string) error {
	ctx, end := canceled()
	defer end()
	w := newProgress(a.stderr, true)
	defer w.Close()
	b, err := blend.Open(ctx, a.lab(), o, &blendWatcher{progress: w})
	if err != nil {
		return err
	}
	defer b.Close()
	var exported *publish.Exported
	if out != "" {
		e, err := b.Write(written, out)
		if err != nil {
			return err
		}
		exported = &e
		w.Say("%s: %d tensors in %s, config in %s", written.Name, e.Tensors, e.Weights, e.Config)
	}
	if len(points) == 0 {
		if a.asJSON {
			return a.sayCurve(b, nil, exported, true)
		}
		return nil
	}
	found, err := b.Evaluate(ctx, points)
	w.Close()
	known, all := 0, 0
	for _, f := range found {
		for _, r := range f.Results {
			if all++; r.Known {
				known++
			}
		}
	}
	if known > 0 {
		w.Say("%d of %d evaluations are recorded already and were not computed again (--again does)", known, all)
	}
	if len(found) > 0 {
		if said := a.sayCurve(b, found, exported, err == nil); err == nil {
			err = said
		}
	}
	return err
}

// blendWatcher shows how evaluations of mixtures go.
type blendWatcher struct {
	*progress
	told sync.Map // messages
}

// Event implements assemble.Watcher. What is true of every mixture is told once.
func (w *blendWatcher) Event(level, message string) {
	if _, known := w.told.LoadOrStore(message, true); !known {
		w.progress.Event(level, message)
	}
}

// Measured implements assess.Watcher.
func (w *blendWatcher) Measured(r assess.Result) {
	if r.Known {
		return
	}
	var parts []string
	for _, m := range r.Metrics {
		if metric.IsHeadline(m.Name) {
			parts = append(parts, metric.Measure(m.Name)+" "+report.Metric(m.Name, m.Value))
		}
	}
	at := r.Variant[strings.LastIndexByte(r.Variant, ',')+1:]
	w.Say("%s  %s  %s", at, r.Evaluation, strings.Join(parts, "  "))
}

// bestPoint tells which point of a curve is best by a metric, of equal ones the one nearest to A.
type bestPoint struct {
	Metric string   `json:"metric"`
	Alpha  float64  `json:"alpha"`
	Value  float64  `json:"value"`
	A      *float64 `json:"a"` // the value at alpha 0; null when it is not on the curve
	B      *float64 `json:"b"` // at alpha 1
}

// bestPoints finds the best point of a line by every metric that has a direction.
func bestPoints(found []blend.Found) (all []bestPoint) {
	at := map[string]int{}
	for _, f := range found {
		for _, r := range f.Results {
			for _, m := range r.Metrics {
				way, v := float64(metric.DirectionOf(m.Name)), m.Value
				if way == 0 || math.IsNaN(v) || math.IsInf(v, 0) {
					continue
				}
				i, known := at[m.Name]
				if !known {
					i, at[m.Name] = len(all), len(all)
					all = append(all, bestPoint{Metric: m.Name, Alpha: f.Alpha, Value: v})
				}
				if (v-all[i].Value)*way > 0 {
					all[i].Alpha, all[i].Value = f.Alpha, v
				}
				switch f.Alpha {
				case 0:
					all[i].A = &v
				case 1:
					all[i].B = &v
				}
			}
		}
	}
	return all
}

// sayCurve prints the points, and which are best of a line that is whole; or JSON.
func (a *app) sayCurve(b *blend.Blend, found []blend.Found, written *publish.Exported, whole bool) error {
	line := whole && len(found) > 1
	var best []bestPoint
	if line {
		best = bestPoints(found)
	}
	if a.asJSON {
		return report.Value(a.stdout, curveJSON(b, found, best, written))
	}
	var names []string
	for _, f := range found {
		for _, r := range f.Results {
			for _, m := range r.Metrics {
				if metric.IsHeadline(m.Name) && !slices.Contains(names, m.Name) {
					names = append(names, m.Name)
				}
			}
		}
	}
	slices.SortFunc(names, metric.Compare)
	columns := []string{"blend", "run"}
	for _, name := range names {
		columns = append(columns, metric.Short(name))
	}
	rows := make([][]any, len(found))
	for i, f := range found {
		rows[i] = []any{f.Name, f.Run}
		for _, name := range names {
			var cell any
			for _, r := range f.Results {
				for _, m := range r.Metrics {
					if m.Name == name {
						cell = report.Metric(name, m.Value)
					}
				}
			}
			rows[i] = append(rows[i], cell)
		}
	}
	if err := report.Rows(a.stdout, report.Text, columns, rows); err != nil || !line {
		return err
	}
	rows = nil
	show := func(name string, v *float64) any {
		if v == nil {
			return nil
		}
		return report.Metric(name, *v)
	}
	for _, x := range best {
		if metric.IsHeadline(x.Metric) {
			rows = append(rows, []any{x.Metric, x.Alpha, report.Metric(x.Metric, x.Value), show(x.Metric, x.A), show(x.Metric, x.B)})
		}
	}
	if len(rows) == 0 {
		return nil
	}
	if _, err := say(a.stdout, "\n"); err != nil {
		return err
	}
	if err := report.Rows(a.stdout, report.Text, []string{"metric", "best alpha", "value", "A", "B"}, rows); err != nil {
		return err
	}
	_, err := say(a.stdout, "\n%s.\n", chosenOnItself)
	return err
}

// curveJSON returns what --json prints.
func curveJSON(b *blend.Blend, found []blend.Found, best []bestPoint, written *publish.Exported) any {
	type model struct {
		Model string `json:"model"`
		Run   string `json:"run,omitempty"`
		Step  int    `json:"step"`
	}
	type point struct {
		Alpha   *float64            `json:"alpha"` // null: a mean
		Shares  []float64           `json:"shares"`
		Run     string              `json:"run"`
		Known   bool                `json:"known"`
		Metrics map[string]*float64 `json:"metrics"` // null: not a number
	}
	out := struct {
		Experiment string            `json:"experiment"`
		Models     []model           `json:"models"`
		Points     []point           `json:"points"`
		Best       []bestPoint       `json:"best"`
		Note       string            `json:"note,omitempty"`
		Written    *publish.Exported `json:"written,omitempty"`
	}{Experiment: b.Experiment(), Points: []point{}, Best: best, Written: written}
	if len(best) > 0 {
		out.Note = chosenOnItself
	}
	for _, m := range b.Models {
		out.Models = append(out.Models, model{m.Ref, m.Run, m.Step})
	}
	for _, f := range found {
		p := point{Shares: f.Shares, Run: f.Run, Known: true, Metrics: map[string]*float64{}}
		if strings.HasPrefix(f.Name, "alpha") {
			p.Alpha = &f.Alpha
		}
		for _, r := range f.Results {
			p.Known = p.Known && r.Known
			for _, m := range r.Metrics {
				if v := m.Value; math.IsNaN(v) || math.IsInf(v, 0) {
					p.Metrics[m.Name] = nil
				} else {
					p.Metrics[m.Name] = &v
				}
			}
		}
		out.Points = append(out.Points, p)
	}
	return out
}
