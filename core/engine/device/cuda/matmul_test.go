//go:build clipcuda

package cuda

import (
	"math"
	"os"
	"strings"
	"testing"

	"tandem/core/engine/device"
	"tandem/core/engine/device/devicetest"
	"tandem/core/fault"
)

// Without cublasLt, or where it has no algorithm, cuBLAS multiplies and a kernel of ours does the rest.
func TestProductsNeedNoCublasLt(t *testing.T) {
	for _, lacks := range []string{"TANDEM_CUBLASLT=off", "TANDEM_CUDA_DOUBLE_LT=none", "TANDEM_CUDA_DOUBLE_LT=plain"} {
		t.Run(lacks, func(t *testing.T) {
			if _, inside := inProcess(t, lacks); !inside {
				return
			}
			b := open(t, Options{})
			for _, c := range devicetest.Trials() {
				if k, ok := c.Kernel.(device.MatMul); ok && k.M < 100 {
					devicetest.Compare(t, b, c)
					devicetest.Halves(t, b, []devicetest.Trial{{Kernel: device.WithBF16(k)}})
				}
			}
			if off := lacks == "TANDEM_CUBLASLT=off"; off != strings.Contains(b.Name(), "without cublasLt") {
				t.Errorf("the name is %q", b.Name())
			}
		})
	}
}

func TestAMissingCublasLtIsToldOnce(t *testing.T) {
	output, inside := inProcess(t, "TANDEM_CUBLASLT=/no/such/file")
	if inside {
		open(t, Options{})
		open(t, Options{})
		return
	}
	if n := strings.Count(output, "cublasLt is missing"); n != 1 || !strings.Contains(output, "TANDEM_CUBLASLT") {
		t.Errorf("it is told %d times:\n%s", n, output)
	}
}

// The double traces what is launched.
func TestBiasAndResidualAreAddedByTheProduct(t *testing.T) {
	if os.Getenv("TANDEM_CUDA_DOUBLE") == "" {
		t.Skip("only the test double tells what is launched")
	}
	output, inside := inProcess(t, "TANDEM_CUDA_DOUBLE_TRACE=1")
	base := device.MatMul{Batch: 1, M: 4, N: 8, K: 16, TransB: true, BF16: true}
	with := func(change func(*device.MatMul)) device.MatMul { k := base; change(&k); return k }
	fused := []device.MatMul{base, with(func(k *device.MatMul) { k.Bias = true }), with(func(k *device.MatMul) { k.Residual = true }),
		with(func(k *device.MatMul) { k.Bias, k.Residual = true, true })}
	followed := []device.MatMul{with(func(k *device.MatMul) { k.Bias, k.Act = true, device.ReLU }), with(func(k *device.MatMul) { k.Gate = true }),
		with(func(k *device.MatMul) { k.Bias, k.Act, k.Slope = true, device.GELU, true })}
	if inside {
		b := open(t, Options{})
		for _, k := range append(fused, followed...) {
			devicetest.Run(t, b, devicetest.Trial{Kernel: k})
		}
		return
	}
	if n := strings.Count(output, "run cublasLtMatmul"); n != len(fused)+len(followed) {
		t.Errorf("%d products by cublasLt:\n%s", n, output)
	}
	if n := strings.Count(output, "run kernel epilogue"); n != len(followed) {
		t.Errorf("%d launches after products, want %d:\n%s", n, len(followed), output)
	}
}

// Where all that a product gives is bfloat16, what follows it takes its sums from scratch, some rows at a time.
func TestProductsGiveBFloat16InPieces(t *testing.T) {
	defer func(was int) { pieceBytes = was }(pieceBytes)
	pieceBytes = 1
	base := device.MatMul{Batch: 1, M: 300, N: 24, K: 16, BF16: true}
	with := func(change func(*device.MatMul)) devicetest.Trial {
		k := base
		change(&k)
		return devicetest.Trial{Kernel: k}
	}
	trials := []devicetest.Trial{
		with(func(k *device.MatMul) {}),
		with(func(k *device.MatMul) { k.Bias, k.TransB = true, true }),
		with(func(k *device.MatMul) { k.Bias, k.Residual = true, true }),
		with(func(k *device.MatMul) { k.Bias, k.Act, k.Slope, k.TransA = true, device.GELU, true, true }),
		with(func(k *device.MatMul) { k.Bias, k.Act, k.Residual = true, device.QuickGELU, true }),
		with(func(k *device.MatMul) { k.Gate = true }),
		with(func(k *device.MatMul) { k.Batch, k.M, k.Gate = 3, 130, true }),
	}
	devicetest.Halves(t, open(t, Options{}), trials, device.MatMul{})
}

// cublasLt sums the rows of a gradient in bfloat16 while it multiplies.
func TestAProductSumsTheRowsOfBFloat16(t *testing.T) {
	b := open(t, Options{})
	k := device.MatMul{Batch: 1, M: 40, N: 24, K: 300, TransA: true, BF16: true, RowSums: true}
	exec, err := b.Prepare(device.Halved{Kernel: k, In: device.At(0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	half := func(n int) (device.Buffer, []uint16) {
		room, _ := b.Alloc(device.Real, device.HalfRoom(n))
		values := make([]uint16, n)
		for i := range values {
			values[i] = uint16(math.Float32bits(device.RoundBF16(float32(i%17)-7.3)) >> 16)
		}
		view := b.HalfView(room, 0, n)
		b.Write(view, values)
		return view, values
	}
	left, values := half(k.K * k.M)
	right, _ := half(k.K * k.N)
	out, _ := b.Alloc(device.Real, k.M*k.N)
	sums, _ := b.Alloc(device.Real, k.M)
	exec.Run([]device.Buffer{left, right, nil, nil, out, sums})
	got := make([]float32, k.M)
	b.Read(got, sums)
	for c := range got {
		want := 0.
		for r := range k.K {
			want += float64(math.Float32frombits(uint32(values[r*k.M+c]) << 16))
		}
		if math.Abs(float64(got[c])-want) > 1e-2 {
			t.Fatalf("the sum of column %d is %g, want %g", c, got[c], want)
		}
	}
}

func TestAProductThatNeverRanIsNotRecorded(t *testing.T) {
	b := open(t, Options{})
	p := newPass(t, b, true)
	p.write(1)
	if _, err := b.Record(p.run); fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "cannot be captured") {
		t.Errorf("recorded with error %v", err)
	}
	p.run()
	r, err := b.Record(p.run)
	if err != nil {
		t.Fatal(err)
	}
	r.Release()
}
