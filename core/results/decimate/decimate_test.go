package decimate_test

import (
	"context"
	"math"
	"path/filepath"
	"testing"

	"tandem/core/clip"
	"tandem/core/results/decimate"
	"tandem/core/results/store"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB) *store.DB {
	t.Helper()
	db, err := store.Open(filepath.Join(t.TempDir(), "results.db"))
	must(t, err)
	t.Cleanup(func() { db.Close() })
	return db
}

func begin(t testing.TB, db *store.DB) *store.Run {
	t.Helper()
	r, err := db.Begin(t.Context(), store.RunMeta{Experiment: "long"})
	must(t, err)
	return r
}

func record(t testing.TB, r *store.Run, metric string, from, to, every int, value func(step int) float64) {
	t.Helper()
	for s := from; s <= to; s += every {
		must(t, r.Metrics(s, []clip.Metric{{Name: metric, Value: value(s)}}))
	}
	must(t, r.Flush(t.Context()))
}

// check compares a curve with what its points say.
func check(t *testing.T, c decimate.Curve, from, to int, value func(step int) float64) {
	t.Helper()
	n, nan, above := 0, 0, 0
	for i, x := range c.Columns {
		if i > 0 && x.Step <= c.Columns[i-1].Step {
			t.Fatalf("column %d is at step %d, after %d", i, x.Step, c.Columns[i-1].Step)
		}
		n, nan, above = n+x.N, nan+x.NaN, above+x.Above
	}
	wantNaN, wantAbove, low, high, sum := 0, 0, math.Inf(1), math.Inf(-1), 0.0
	for s := from; s <= to; s++ {
		switch v := value(s); {
		case math.IsNaN(v):
			wantNaN++
		case math.IsInf(v, 1):
			wantAbove++
		default:
			low, high, sum = min(low, v), max(high, v), sum+v
		}
	}
	gotLow, gotHigh, gotSum := math.Inf(1), math.Inf(-1), 0.0
	for _, x := range c.Columns {
		if x.Finite() > 0 {
			gotLow, gotHigh, gotSum = min(gotLow, x.Min), max(gotHigh, x.Max), gotSum+x.Sum
		}
	}
	if n != to-from+1 || nan != wantNaN || above != wantAbove || gotLow != low || gotHigh != high || math.Abs(gotSum-sum) > 1e-6*math.Abs(sum) {
		t.Errorf("%d points, %d NaN, %d ∞, from %v to %v, sum %v; want %d, %d, %d, %v, %v, %v", n, nan, above, gotLow, gotHigh, gotSum,
			to-from+1, wantNaN, wantAbove, low, high, sum)
	}
}

// spiky falls, and has spikes, NaN and infinities.
func spiky(step int) float64 {
	switch {
	case step == 77_777:
		return 1e6
	case step%10_007 == 5:
		return math.NaN()
	case step%30_011 == 7:
		return math.Inf(1)
	}
	return 1 + 1/float64(step)
}

// countingSource tells how many steps were asked for.
type countingSource struct {
	*store.Reader
	steps *int
}

func (s countingSource) Columns(ctx context.Context, run, metric string, span store.Span) ([]store.Column, error) {
	*s.steps += span.To - span.From + 1
	return s.Reader.Columns(ctx, run, metric, span)
}

func TestALongCurveKeepsItsSpikesAndCountsWhatIsNotFinite(t *testing.T) {
	db := open(t)
	run := begin(t, db)
	const n = 130_000
	record(t, run, "train/loss", 1, n, 1, spiky)
	read := 0
	d := decimate.New(countingSource{db.Reader, &read})
	c, err := d.Curve(t.Context(), run.ID(), "train/loss", -1, -1, 500)
	must(t, err)
	if len(c.Columns) > 501 || len(c.Columns) < 400 {
		t.Errorf("%d columns", len(c.Columns))
	}
	check(t, c, 1, n, spiky)
	spike := c.Columns[77_777/c.Size]
	if spike.Max != 1e6 || math.Abs(float64(spike.Step-77_777)) > float64(c.Size) {
		t.Errorf("the spike is %+v", spike)
	}
	if read > n+64 {
		t.Errorf("%d steps were read for %d points", read, n)
	}

	// Drawn again, it reads no more than the block that may grow.
	read = 0
	_, err = d.Curve(t.Context(), run.ID(), "train/loss", -1, -1, 300)
	must(t, err)
	if read > 64 {
		t.Errorf("%d steps were read again", read)
	}
	// What is new is read alone, and a part by its points.
	record(t, run, "train/loss", n+1, n+100, 1, spiky)
	read = 0
	c, err = d.Curve(t.Context(), run.ID(), "train/loss", -1, -1, 300)
	must(t, err)
	check(t, c, 1, n+100, spiky)
	if read > 200 {
		t.Errorf("%d steps were read for a hundred new points", read)
	}
	c, err = d.Curve(t.Context(), run.ID(), "train/loss", 1000, 1099, 500)
	must(t, err)
	check(t, c, 1000, 1099, spiky)
	if c.Size != 1 || len(c.Columns) != 100 {
		t.Errorf("%d columns of %d steps", len(c.Columns), c.Size)
	}
	c, err = d.Curve(t.Context(), run.ID(), "train/loss", 50_000, 59_999, 100)
	must(t, err)
	check(t, c, 50_000, 59_999, spiky)
	if c.Size != 100 {
		t.Errorf("columns of %d steps", c.Size)
	}
}

func TestWhatIsNotThereIsEmpty(t *testing.T) {
	db := open(t)
	run := begin(t, db)
	record(t, run, "train/loss", 5, 5, 1, func(int) float64 { return math.NaN() })
	d := decimate.New(db.Reader)
	for _, c := range []struct {
		run, metric string
		from, to    int
		want        int
	}{{run.ID(), "train/loss", -1, -1, 1}, {run.ID(), "train/loss", 6, 9, 0}, {run.ID(), "train/lr", -1, -1, 0}, {"nosuchrun0", "train/loss", -1, -1, 0}} {
		got, err := d.Curve(t.Context(), c.run, c.metric, c.from, c.to, 100)
		must(t, err)
		if len(got.Columns) != c.want {
			t.Errorf("%+v: %+v", c, got)
		}
	}
}

func TestAClockAddsUpTheTimeOfSteps(t *testing.T) {
	db := open(t)
	d := decimate.New(db.Reader)
	slow := func(step int) float64 { // 32 samples take a second, and the tenth of the steps from 401 on ten
		if step > 400 && step <= 410 {
			return 3.2
		}
		return 32
	}
	for _, every := range []int{1, 10} {
		run := begin(t, db)
		record(t, run, "train/samples_per_s", every, 5000, every, slow)
		k, err := d.Clock(t.Context(), run.ID(), 32)
		must(t, err)
		if a, b := k.At(400), k.At(5000); math.Abs(a-400) > 5 || math.Abs(b-5090) > 5 || k.At(9999) < b || k.At(0) != 0 {
			t.Errorf("every %d: %v s at step 400, %v s at step 5000", every, a, b)
		}
	}
	run := begin(t, db)
	record(t, run, "train/step_ms", 1, 10, 1, func(int) float64 { return 500 })
	k, err := d.Clock(t.Context(), run.ID(), 0)
	must(t, err)
	if k.From != "train/step_ms" || math.Abs(k.At(10)-5) > 1e-9 || math.Abs(k.At(4)-2) > 1e-9 {
		t.Errorf("%+v", k)
	}
	if k, err := d.Clock(t.Context(), begin(t, db).ID(), 32); k != nil || err != nil {
		t.Errorf("%+v, %v", k, err)
	}
}
