package taping_test

import (
	"math"
	"path/filepath"
	"strings"
	"testing"

	"tandem/core/experiment/lab"
	"tandem/core/experiment/lab/labtest"
	"tandem/core/experiment/run"
	"tandem/core/experiment/taping"
	"tandem/core/fault"
	"tandem/core/plugin/tape"
)

func TestMain(m *testing.M) { labtest.Main(m) }

func record(t *testing.T, l lab.Lab, plugin string, steps int) *taping.Recording {
	t.Helper()
	r, err := taping.Record(t.Context(), l, labtest.Spec(t, l), taping.Options{Plugin: plugin, Steps: steps, File: filepath.Join(t.TempDir(), "x.tape")}, nil, run.Quiet{})
	labtest.Must(t, err)
	return r
}

func play(t *testing.T, l lab.Lab, file string, o tape.Options) *tape.Result {
	t.Helper()
	in, err := tape.Open(file)
	labtest.Must(t, err)
	defer in.Close()
	o.Catalog = l.Catalog
	r, err := tape.Play(t.Context(), in, o)
	labtest.Must(t, err)
	return r
}

// methods counts the calls of a result's methods.
func methods(r *tape.Result) map[string]int {
	m := map[string]int{}
	for _, x := range r.Methods {
		m[x.Method] = x.Calls
	}
	return m
}

// Every plugin of a run repeats what it said in it.
func TestAPluginRepeatsWhatItSaid(t *testing.T) {
	l := labtest.New(t)
	for _, role := range []string{"image", "text", "loss", "data.train", "eval.dots"} {
		r := record(t, l, role, 0)
		played := play(t, l, r.File, tape.Options{})
		if !played.Same() || played.Calls < 3 || played.Cut {
			t.Errorf("%s: %+v, first %+v", role, played, played.First)
		}
		if m := methods(played); r.Steps != 8 || (role == "loss" && (m["Compute"] < 8 || m["Step"] != 8 || m["Save"] == 0)) {
			t.Errorf("%s: %d steps, calls %v", role, r.Steps, m)
		}
	}
}

func TestAnotherVersionPartsWhereItDoes(t *testing.T) {
	l, second := labtest.New(t), labtest.SecondPull(t)
	r := record(t, l, "losses/pull", 6)
	if r.Steps != 6 || r.Role != "loss" {
		t.Errorf("recorded %+v", r)
	}
	played := play(t, l, r.File, tape.Options{Plugin: second})
	f := played.First
	if f == nil || f.Method != "Compute" || f.Nth != 4 || f.Field != "value" || f.Elements != 1 || math.Abs(f.Most-1e-3) > 1e-9 || played.Version != "2.0.0" {
		t.Fatalf("%+v, first %+v", played, f)
	}
	if played := play(t, l, r.File, tape.Options{Plugin: second, Tolerance: 0.01}); !played.Same() {
		t.Errorf("within the tolerance: %+v", played.First)
	}
}

func TestAPluginThatFailsIsToldWithItsCall(t *testing.T) {
	l := labtest.New(t)
	r := record(t, l, "data.train", 2)
	played := play(t, l, r.File, tape.Options{Plugin: "dots"})
	if !played.Same() {
		t.Fatalf("%+v", played.First)
	}
	in, err := tape.Open(r.File)
	labtest.Must(t, err)
	defer in.Close()
	if _, err := tape.Play(t.Context(), in, tape.Options{Catalog: l.Catalog, Plugin: "pull"}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a plugin of another kind gives %v", err)
	}
}

func TestWhoseCallsMustBeSaid(t *testing.T) {
	l := labtest.New(t)
	for word, want := range map[string]string{"dots": "data.train, eval.dots", "nix": "it has data.train"} {
		_, err := taping.Record(t.Context(), l, labtest.Spec(t, l), taping.Options{Plugin: word, File: filepath.Join(t.TempDir(), "x.tape")}, nil, run.Quiet{})
		if err == nil || !strings.Contains(fault.Format(err), want) {
			t.Errorf("%s gives %v, want %q", word, err, want)
		}
	}
}
