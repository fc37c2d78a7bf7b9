package losstest

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/engine/device/devices"
	"tandem/core/engine/loss"
	"tandem/core/fault"
	"tandem/core/tensor"
)

// parts are disjoint rows that make up a batch of pairsOfRows.
var parts = [][2]int{{0, 3}, {3, 1}, {4, 5}}

const pairsOfRows, widthOfRows = 9, 6

// Rows checks what a loss computes of parts of a batch's rows: the parts add up to the whole, at once, in blocks and in
// pieces, with each with block; and it keeps logits of its rows alone. Requests for rows that are not there are refused.
func Rows(t *testing.T, open func(...loss.Option) *loss.Loss, withs ...string) {
	for _, with := range withs {
		for name, options := range map[string][]loss.Option{"at once": nil, "in blocks": {loss.WithBlocks(2 * pairsOfRows)}, "in pieces": {loss.WithPieces(2 * pairsOfRows)}} {
			t.Run(with+" "+name+" double", func(t *testing.T) {
				addUp(t, open(append(options, Double)...), "host", with, 1e-7)
			})
			for _, d := range devices.List() {
				if d.Available && (d.Name == "cuda:0" || !strings.HasPrefix(d.Name, "cuda:")) {
					t.Run(fmt.Sprintf("%s %s %s", with, name, d.Name), func(t *testing.T) { addUp(t, open(options...), d.Name, with, 1e-6) })
				}
			}
		}
	}
	t.Run("memory", func(t *testing.T) { rowMemory(t, open) })
}

func rowRequest(rng *rand.Rand, batch, width int) clip.LossRequest {
	unit := func() *tensor.Tensor {
		x := tensor.New(tensor.F32, batch, width)
		for i := range batch {
			row, norm := x.F32()[i*width:(i+1)*width], 0.0
			for j := range row {
				row[j] = float32(rng.NormFloat64())
				norm += float64(row[j]) * float64(row[j])
			}
			for j := range row {
				row[j] /= float32(math.Sqrt(norm))
			}
		}
		return x
	}
	return clip.LossRequest{Image: unit(), Text: unit(), Train: true, PerSample: true}
}

func configureRows(t *testing.T, l *loss.Loss, device, with string, batch, width int) {
	t.Helper()
	t.Cleanup(func() { l.Close() })
	if _, err := l.Configure(context.Background(), clip.LossConfig{With: []byte(with), EmbedDim: width, BatchSize: batch,
		Optimizer: clip.Optimizer{Name: "sgd"}, Compute: clip.Compute{Device: device, Threads: 2}}); err != nil {
		t.Fatal(err)
	}
}

// numbers lists what a result and the gradients of the scalars are, by name.
func numbers(r *clip.LossResult, scalars []float64) map[string][]float64 {
	out := map[string][]float64{"value": {r.Value}, "image gradient": wide(r.DImage), "text gradient": wide(r.DText), "scalars' gradients": scalars}
	for name, v := range r.Parts {
		out["part "+name] = []float64{v}
	}
	return out
}

// addUp holds the sum over parts against the whole, with a tolerance relative to the norm.
func addUp(t *testing.T, l *loss.Loss, device, with string, tolerance float64) {
	ctx := context.Background()
	configureRows(t, l, device, with, pairsOfRows, widthOfRows)
	q := rowRequest(rand.New(rand.NewPCG(1, 2)), pairsOfRows, widthOfRows)
	compute := func(q clip.LossRequest) (*clip.LossResult, map[string][]float64) {
		t.Helper()
		r, err := l.Compute(ctx, q)
		if err != nil {
			t.Fatal(err)
		}
		var scalars []float64
		for _, name := range []string{loss.LogitScale, loss.LogitBias} {
			scalars = append(scalars, l.Gradient(name))
		}
		if err := l.Step(ctx, 1, 0, 1); err != nil {
			t.Fatal(err)
		}
		return r, numbers(r, scalars)
	}
	whole, want := compute(q)
	sums, samples := map[string][]float64{}, map[string][]float32{}
	for _, part := range parts {
		q.RowOffset, q.Rows = part[0], part[1]
		r, some := compute(q)
		for name, values := range some {
			if sums[name] == nil {
				sums[name] = make([]float64, len(values))
			}
			for i, v := range values {
				sums[name][i] += v
			}
		}
		for name, values := range r.PerSample {
			if len(values) != part[1] {
				t.Fatalf("%d values of %s for %d rows", len(values), name, part[1])
			}
			samples[name] = append(samples[name], values...)
		}
	}
	for name, w := range want {
		apart, norm := distance(sums[name], w)
		if !(apart <= tolerance*(norm+1)) {
			t.Errorf("%s: the rows' shares are together apart from the whole by %.2g, want at most %.2g of %.3g", name, apart, tolerance, norm)
		}
	}
	for name, values := range whole.PerSample {
		for i, v := range values {
			if got := samples[name][i]; math.Abs(float64(got-v)) > tolerance*10*(1+math.Abs(float64(v))) {
				t.Errorf("%s of sample %d is %v, of the whole %v", name, i, got, v)
			}
		}
	}
	for _, bad := range [][2]int{{8, 2}, {-1, 2}, {0, -1}, {2, 0}} {
		q.RowOffset, q.Rows = bad[0], bad[1]
		if _, err := l.Compute(ctx, q); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%d rows from %d: %v", bad[1], bad[0], err)
		}
	}
}

// rowMemory checks that a quarter of the rows take about a quarter of the memory.
func rowMemory(t *testing.T, open func(...loss.Option) *loss.Loss) {
	const batch, width = 256, 4
	activations := func(rows int) (sum int64) {
		l := open()
		configureRows(t, l, "host", "{}", batch, width)
		q := rowRequest(rand.New(rand.NewPCG(1, 2)), batch, width)
		q.Rows = rows
		if _, err := l.Compute(context.Background(), q); err != nil {
			t.Fatal(err)
		}
		for _, p := range l.Memory() {
			if p.Name == "activations" || p.Name == "workspace" || p.Name == "constants" {
				sum += p.Bytes
			}
		}
		return sum
	}
	if whole, quarter := activations(0), activations(batch/4); 2*quarter > whole {
		t.Errorf("%d rows of %d take %d bytes, all take %d", batch/4, batch, quarter, whole)
	}
}
