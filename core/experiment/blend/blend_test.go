package blend

import (
	"context"
	"math"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/engine/weights"
	"tandem/core/experiment/assess"
	"tandem/core/experiment/lab"
	"tandem/core/experiment/lab/labtest"
	"tandem/core/experiment/publish"
	"tandem/core/experiment/run"
	"tandem/core/fault"
	"tandem/core/results/store"
)

func TestMain(m *testing.M) { labtest.Main(m) }

// heard keeps what is told.
type heard struct {
	run.Quiet
	events, doing []string
	after         func() // is called after every result
}

func (h *heard) Event(_, message string) { h.events = append(h.events, message) }
func (h *heard) Doing(what string)       { h.doing = append(h.doing, what) }
func (h *heard) Measured(assess.Result) {
	if h.after != nil {
		h.after()
	}
}

func trained(t *testing.T, l lab.Lab, set ...string) string {
	t.Helper()
	out, err := run.Start(t.Context(), l, labtest.Spec(t, l, append([]string{"train.keep_checkpoints=9"}, set...)...), nil, run.Quiet{})
	labtest.Must(t, err)
	return out.ID
}

// pair trains two models.
func pair(t *testing.T) (l lab.Lab, a, b string) {
	t.Helper()
	l = labtest.New(t)
	return l, trained(t, l), trained(t, l, "seed=3", "train.lr=0.5")
}

// file writes a point between two models as a file and returns its path.
func file(t *testing.T, l lab.Lab, models []string, alpha float64) string {
	t.Helper()
	b, err := Open(t.Context(), l, Options{Models: models}, &heard{})
	labtest.Must(t, err)
	defer b.Close()
	path, p := filepath.Join(t.TempDir(), "mixed.safetensors"), b.mixed(Along(alpha))
	labtest.Must(t, weights.Write(path, p.Tensors, p.Meta))
	return path
}

func evaluated(t *testing.T, l lab.Lab, o Options, points ...Point) ([]Found, *heard) {
	t.Helper()
	w := &heard{}
	b, err := Open(t.Context(), l, o, w)
	labtest.Must(t, err)
	defer b.Close()
	found, err := b.Evaluate(t.Context(), points)
	labtest.Must(t, err)
	return found, w
}

func detail(t *testing.T, l lab.Lab, id string) *store.RunDetail {
	t.Helper()
	r, err := store.OpenReader(l.DB)
	labtest.Must(t, err)
	defer r.Close()
	d, err := r.Get(t.Context(), id)
	labtest.Must(t, err)
	return d
}

// The ends of a line are evaluated as the models themselves are, to the bit, and a point between them as its file is when that is
// imported. Each is a run that says what it is made of, and is not computed again.
func TestPointsAreTheModelsThatTheyAreMadeOf(t *testing.T) {
	l, a, b := pair(t)
	o := Options{Models: []string{a + "@6", b}, Version: "v"}
	points := []Point{Along(0), Along(.25), Along(1)}
	found, w := evaluated(t, l, o, points...)
	if len(found) != 3 {
		t.Fatalf("%+v (%q)", found, w.events)
	}
	own := func(id, checkpoint string) []clip.Metric {
		t.Helper()
		r, err := assess.Evaluate(t.Context(), l, id, assess.Options{Checkpoint: checkpoint}, &heard{})
		labtest.Must(t, err)
		return r[0].Metrics
	}
	imported, err := publish.Import(t.Context(), l, labtest.Spec(t, l, "seed=3"), file(t, l, o.Models, .25), run.Quiet{})
	labtest.Must(t, err)
	for i, want := range [][]clip.Metric{own(a, "6"), own(imported, "last"), own(b, "8")} {
		if got := found[i].Results[0].Metrics; len(want) == 0 || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, want %v", found[i].Name, got, want)
		}
	}
	d := detail(t, l, found[1].Run)
	if d.Experiment != "tiny-blend" || d.Variant != "with=tiny-seed0-step6,alpha=0.25" || d.Seed != 3 || d.Status != string(clip.StatusDone) || len(d.Evaluations) != 1 {
		t.Errorf("%s %s seed %d is %s, with %+v", d.Experiment, d.Variant, d.Seed, d.Status, d.Evaluations)
	}
	again, w := evaluated(t, l, o, points...)
	for i := range again {
		if !again[i].Results[0].Known || again[i].Run != found[i].Run || !reflect.DeepEqual(again[i].Results[0].Metrics, found[i].Results[0].Metrics) {
			t.Errorf("%+v, first %+v", again[i], found[i])
		}
	}
	for _, what := range w.doing {
		if what != "" {
			t.Errorf("for what is known it is %s", what)
		}
	}
}

// Who ends it keeps the points that are complete, and goes on with the others in the same runs.
func TestWhatIsCompleteStays(t *testing.T) {
	l, a, b := pair(t)
	ctx, cancel := context.WithCancel(t.Context())
	x, err := Open(ctx, l, Options{Models: []string{a, b}}, &heard{after: cancel})
	labtest.Must(t, err)
	found, err := x.Evaluate(ctx, []Point{Along(0), Along(1)})
	x.Close()
	if fault.KindOf(err) != fault.Canceled || len(found) != 1 {
		t.Fatalf("%+v (%v)", found, err)
	}
	all, _ := evaluated(t, l, Options{Models: []string{a, b}}, Along(0), Along(1))
	if !all[0].Results[0].Known || all[1].Results[0].Known || all[0].Run != found[0].Run {
		t.Errorf("%+v", all)
	}
	for _, f := range all {
		if d := detail(t, l, f.Run); d.Status != string(clip.StatusDone) {
			t.Errorf("%s is %s", f.Name, d.Status)
		}
	}
}

// A uniform soup of equal models is that model; files take part under others' names.
func TestSoups(t *testing.T) {
	l, a, b := pair(t)
	file := file(t, l, []string{a, b}, 0)
	soup, _ := evaluated(t, l, Options{Models: []string{a, file, a, file}}, Uniform(4))
	line, _ := evaluated(t, l, Options{Models: []string{file, b}}, Along(0))
	if !reflect.DeepEqual(soup[0].Results[0].Metrics, line[0].Results[0].Metrics) {
		t.Errorf("%v, want %v", soup[0].Results[0].Metrics, line[0].Results[0].Metrics)
	}
}

func TestModelsThatCannotBeBlended(t *testing.T) {
	l, a, _ := pair(t)
	wide := trained(t, l, "embed_dim=8")
	for _, c := range []struct {
		models []string
		kind   fault.Kind
		says   string
	}{
		{[]string{a, wide}, fault.Invalid, "tensor letters is [4] and [8] (embed_dim is 4 and 8)"},
		{[]string{a, a + "@5"}, fault.NotFound, "no checkpoint of step 5"},
		{[]string{a, a + "@x"}, fault.Invalid, "is no step"},
		{[]string{a, "nowhere.safetensors"}, fault.NotFound, "no file of that name"},
		{[]string{filepath.Dir(l.DB), filepath.Dir(l.DB)}, fault.NotFound, ""},
	} {
		b, err := Open(t.Context(), l, Options{Models: c.models}, &heard{})
		if fault.KindOf(err) != c.kind || !strings.Contains(fault.Format(err), c.says) {
			t.Errorf("%v: %v %v", c.models, b, fault.Format(err))
		}
	}
	if _, err := Open(t.Context(), l, Options{Models: []string{a, a}, Averaged: true}, &heard{}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("averages: %v", err)
	}
	if list := differences("image", `{"act":"gelu","width":8}`, `{"act":"quick_gelu","width":8,"registers":4}`); strings.Join(list, "; ") !=
		`image.act is "gelu" and "quick_gelu"; image.registers is left out and 4` {
		t.Error(list)
	}
}

// Values are those of PyTorch's (1 - a) * x + a * y in float32; the ends have the bits of the models, whatever they are.
func TestMix(t *testing.T) {
	odd := math.Float32frombits(0x7fc00123)
	x := weights.FromF32("t", []float32{1.1, -3.3, float32(math.Copysign(0, -1)), odd, 1e30}, 5)
	y := weights.FromF32("t", []float32{2.7, 5.9, float32(math.Inf(1)), 0, -1e30}, 5)
	for alpha, want := range map[float64][]uint32{
		0: {0x3f8ccccd, 0xc0533333, 0x80000000, 0x7fc00123, 0x7149f2ca}, 1: {0x402ccccd, 0x40bccccd, 0x7f800000, 0, 0xf149f2ca},
		.3: {0x3fca3d71, 0xbf0a3d6e, 0x7f800000, 0x7fc00123, 0x70a18f08},
	} {
		got, err := mix([]weights.Tensor{x, y}, Along(alpha).Shares)
		labtest.Must(t, err)
		for i := range got {
			if bits := math.Float32bits(got[i]); bits != want[i] {
				t.Errorf("alpha %v, value %d: %#x, want %#x", alpha, i, bits, want[i])
			}
		}
	}
}
