package device_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"tandem/core/engine/device"
)

var update = flag.Bool("update", false, "write testdata/kernels.txt")

// described holds every kernel, with the options that change its description.
func described() []device.Kernel {
	conv := device.Conv2D{B: 2, H: 9, W: 7, InC: 3, OutC: 5, KH: 3, KW: 2, Stride: 2, Pad: 1}
	low := conv
	low.BF16 = true
	pool := device.Pool2D{B: 2, H: 8, W: 6, C: 3, Size: 2, Stride: 2}
	separate := device.Attention{B: 2, Tq: 3, Tk: 5, Heads: 2, HeadDim: 4}
	packed := device.Attention{B: 2, Tq: 5, Tk: 5, Heads: 2, HeadDim: 4, Packed: true, Causal: true}
	ragged := packed
	ragged.Rows = 7
	lowPacked, lowRagged := packed, ragged
	lowPacked.BF16, lowRagged.BF16 = true, true
	at := device.AttentionAt{B: 2, T: 5, Heads: 2, HeadDim: 4, Causal: true}
	raggedAt := at
	raggedAt.Rows = 7
	return []device.Kernel{
		device.MatMul{Batch: 2, M: 3, N: 5, K: 7},
		device.MatMul{Batch: 1, M: 3, N: 5, K: 7, Bias: true, Residual: true, Act: device.GELU, Slope: true, Weights: true},
		device.MatMul{Batch: 1, M: 3, N: 5, K: 7, TransA: true, Gate: true, BF16: true},
		device.MatMul{Batch: 1, M: 3, N: 5, K: 7, TransB: true, Bias: true, Act: device.GELU, Slope: true, Weights: true, BF16: true},
		device.MatMul{Batch: 1, M: 3, N: 5, K: 7, TransA: true, BF16: true, RowSums: true},
		device.ConvForward{Conv2D: conv}, device.ConvForward{Conv2D: low},
		device.ConvBackData{Conv2D: conv}, device.ConvBackData{Conv2D: low},
		device.ConvBackData{Conv2D: low, Residual: true},
		device.ConvBackWeights{Conv2D: conv}, device.ConvBackWeights{Conv2D: low},
		device.AvgPool{Pool2D: pool}, device.AvgPoolBack{Pool2D: pool}, device.MaxPool{Pool2D: pool}, device.MaxPoolBack{Pool2D: pool},
		separate, packed, ragged, device.AttentionBack(separate), device.AttentionBack(packed), device.AttentionBack(ragged),
		lowPacked, lowRagged, device.AttentionBack(lowPacked), device.AttentionBack(lowRagged),
		at, raggedAt, device.AttentionAtBack(at), device.AttentionAtBack(raggedAt),
		device.Act{N: 6, Act: device.ReLU}, device.ActBack{N: 6, Act: device.ReLU},
		device.Binary{N: 6, Period: 6, Op: device.OpAdd}, device.Binary{N: 6, Period: 3, Op: device.OpMul},
		device.Scale{N: 6}, device.ScaleBy{N: 6}, device.ScaleByBack{N: 6}, device.Accumulate{N: 6},
		device.Softplus{N: 6}, device.SoftplusBack{N: 6},
		device.SumRows{Rows: 2, Cols: 3}, device.SumCols{Rows: 2, Cols: 3}, device.BroadcastRows{Rows: 2, Cols: 3}, device.SumSquares{N: 6},
		device.LayerNorm{Rows: 2, Cols: 3}, device.LayerNormBack{Rows: 2, Cols: 3}, device.LayerNormBack{Rows: 2, Cols: 3, Residual: true},
		device.L2Norm{Rows: 2, Cols: 3}, device.L2NormBack{Rows: 2, Cols: 3},
		device.BatchStats{Rows: 2, C: 3}, device.BatchNorm{Rows: 2, C: 3},
		device.BatchNorm{Rows: 2, C: 3, Act: device.ReLU, Residual: true},
		device.BatchNormBack{Rows: 2, C: 3, Act: device.ReLU, Residual: true},
		device.BatchNormBack{Rows: 2, C: 3}, device.BatchNormBack{Rows: 2, C: 3, Act: device.ReLU},
		device.RunningStats{Rows: 2, C: 3},
		device.Normalize{N: 2, Std: [3]float64{1, 1, 1}}, device.Patchify{B: 2, H: 4, W: 6, C: 3, P: 2},
		device.Gather{Rows: 11, Cols: 3, N: 2}, device.GatherBack{Rows: 11, Cols: 3, N: 2},
		device.Concat{B: 2, TA: 1, TC: 4, W: 3}, device.Concat{B: 2, TA: 1, TC: 4, W: 3, BroadcastA: true},
		device.Slice{B: 2, T: 5, W: 3, From: 1, N: 2}, device.SliceBack{B: 2, T: 5, W: 3, From: 1, N: 2},
		device.MeanTokens{B: 2, T: 5, W: 3}, device.MeanTokens{B: 2, T: 5, W: 3, Lengths: true},
		device.MeanTokensBack{B: 2, T: 5, W: 3}, device.MeanTokensBack{B: 2, T: 5, W: 3, Lengths: true},
		device.Transpose{B: 2, M: 3, N: 5},
		device.CrossEntropy{Rows: 2, Cols: 3}, device.CrossEntropyBack{Rows: 2, Cols: 3},
		device.AdamW{N: 6}, device.SGD{N: 6}, device.Lion{N: 6}, device.Average{N: 6},
		device.Halved{Kernel: device.LayerNorm{Rows: 2, Cols: 3}, In: device.At(3)},
	}
}

// TestKernelsAreDescribedAsBefore holds every kernel to testdata/kernels.txt: what is said there decides the
// memory plan, what is held in bfloat16, and the work that is reported. Write it with -update.
func TestKernelsAreDescribedAsBefore(t *testing.T) {
	var b strings.Builder
	for _, k := range described() {
		d, err := device.Describe(k)
		if err != nil {
			t.Fatal(err)
		}
		write(&b, k, d)
	}
	const path = "testdata/kernels.txt"
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got, want := strings.Split(b.String(), "\n"), strings.Split(string(data), "\n")
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			t.Fatalf("line %d of %s differs; the kernels say\n%s", i+1, path, strings.Join(got[min(i, len(got)):min(i+1, len(got))], ""))
		}
	}
}

// write says a description on two lines: "inputs → outputs", each with its length, dtype and marks, then the rest.
func write(b *strings.Builder, k device.Kernel, d device.Description) {
	fmt.Fprintf(b, "%T%+v\n ", k, k)
	out := false
	for i, a := range d.Args {
		if a.Out && !out {
			out = true
			b.WriteString(" →")
		}
		fmt.Fprintf(b, " %s", a.Name)
		if a.Absent {
			b.WriteString(" nil")
			continue
		}
		fmt.Fprintf(b, "[%d]", a.Len)
		if a.DType != device.Real {
			fmt.Fprintf(b, " %v", a.DType)
		}
		if a.Range > 0 {
			fmt.Fprintf(b, " of %d", a.Range)
		}
		if d.Weights.Has(i) {
			b.WriteString(" weights")
		}
	}
	fmt.Fprintf(b, "\n  flops %g, rounded %b, half %b, operands %b, in place %d", d.FLOPs, d.Rounded, d.Half, d.Operands, d.InPlace)
	if item, ok := k.(device.Itemized); ok {
		fmt.Fprintf(b, ", items %d, of 3 %+v", item.Items(), item.WithItems(3))
	}
	if low := device.WithBF16(k); low != k {
		b.WriteString(", has bf16")
	}
	b.WriteString("\n")
}

// TestEveryKernelIsDescribed finds the kernels in the source, so that a new one is not forgotten above.
func TestEveryKernelIsDescribed(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range described() {
		seen[reflect.TypeOf(k).Name()] = true
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	kernel := regexp.MustCompile(`(?m)^func \(\w+ (\w+)\) describe\(d \*describer\) \{`)
	found := 0
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range kernel.FindAllSubmatch(source, -1) {
			found++
			if !seen[string(m[1])] {
				t.Errorf("%s: %s has no line in the test above", file, m[1])
			}
		}
	}
	if found != len(seen) {
		t.Errorf("found %d kernels in the source, the test has %d", found, len(seen))
	}
}
