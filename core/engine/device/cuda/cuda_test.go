//go:build clipcuda

package cuda

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"tandem/core/engine/device"
	"tandem/core/engine/device/devicetest"
	"tandem/core/fault"
)

// open makes a backend on the first GPU, or on the test double, which `make test-cuda` puts in its place.
func open(t testing.TB, options Options) *Backend {
	t.Helper()
	b, err := Open(0, options)
	if fault.KindOf(err) == fault.Unavailable && os.Getenv("TANDEM_CUDA_DOUBLE") == "" {
		t.Skipf("neither a GPU nor the test double (make test-cuda): %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	cuda := b.(*Backend)
	t.Cleanup(func() {
		if err := cuda.Err(); err != nil {
			t.Error(fault.Format(err))
		}
		if err := cuda.Close(); err != nil {
			t.Error(fault.Format(err))
		}
	})
	return cuda
}

func TestKernelsMatchTheReference(t *testing.T) { compareAll(t, devicetest.Trials()) }

func TestKernelsOfRandomShapesMatchTheReference(t *testing.T) {
	compareAll(t, devicetest.Random(2, 400))
}

// compareAll runs a test for each type of kernel, on a backend of its own: a kernel that faults ends its backend.
func compareAll(t *testing.T, trials []devicetest.Trial) {
	byType := map[string][]devicetest.Trial{}
	var names []string
	for _, c := range trials {
		name := strings.TrimPrefix(fmt.Sprintf("%T", c.Kernel), "device.")
		if byType[name] == nil {
			names = append(names, name)
		}
		byType[name] = append(byType[name], c)
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			b := open(t, Options{})
			for _, c := range byType[name] {
				devicetest.Compare(t, b, c)
				if b.Err() != nil {
					t.Fatalf("%T%+v", c.Kernel, c.Kernel)
				}
			}
		})
	}
}

func TestEqualInputsGiveEqualBits(t *testing.T) {
	devicetest.EqualBits(t, open(t, Options{}), open(t, Options{}), devicetest.Trials())
}
func TestHalfArgumentsGiveTheBitsOfRealOnes(t *testing.T) {
	trials := slices.Concat(devicetest.Trials(), devicetest.Random(3, 300), devicetest.AttentionInBF16())
	for i := range trials {
		trials[i].Kernel = device.WithBF16(trials[i].Kernel)
	}
	for _, c := range devicetest.Fused() {
		if (&Backend{}).Fuses(c.Kernel) {
			trials = append(trials, c)
		}
	}
	// Rows too long for registers.
	trials = append(trials, devicetest.Trial{Kernel: device.LayerNorm{Rows: 7, Cols: 1500, Eps: 1e-5}},
		devicetest.Trial{Kernel: device.LayerNormBack{Rows: 7, Cols: 1500, Eps: 1e-2}})
	b := open(t, Options{})
	b.noDNN = true // which sums in another order for maps in bfloat16 (TestCuDNNMakesMapsInBF16)
	devicetest.Halves(t, b, trials, devicetest.OnHalf()...)
}

func TestFusedKernelsMatchTheReference(t *testing.T) { devicetest.CompareFused(t, open(t, Options{})) }
func TestActivationsAtExtremes(t *testing.T)         { devicetest.Extremes(t, open(t, Options{})) }
func TestNaNReachesTheOutputOfAMatMul(t *testing.T) {
	devicetest.NaN(t, open(t, Options{}))
}
func TestBF16CopiesFollowTheirMemory(t *testing.T)  { devicetest.CopiesInBF16(t, open(t, Options{})) }
func TestRunPanicsOnWrongArguments(t *testing.T)    { devicetest.WrongArguments(t, open(t, Options{})) }
func TestMemoryKeepsWhatIsWritten(t *testing.T)     { devicetest.Memory(t, open(t, Options{})) }
func TestLongMemoryKeepsWhatIsWritten(t *testing.T) { longRoundTrip(t, open(t, Options{})) }

// longRoundTrip copies more than the staging memory holds.
func longRoundTrip(t *testing.T, b *Backend) {
	n := len(b.staging)*slotBytes + 12345
	x, err := b.Alloc(device.U8, n)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Free(x)
	values, got := make([]uint8, n), make([]uint8, n)
	for i := range values {
		values[i] = uint8(i * i >> 3)
	}
	b.Write(x, values)
	want := string(values)
	clear(values) // Write is done with them
	b.Read(got, x)
	if string(got) != want {
		t.Errorf("%d bytes come back different", n)
	}
}

func TestNameSaysWhatComputes(t *testing.T) {
	for tf32, end := range map[bool]string{false: ")", true: ", TF32)"} {
		name := open(t, Options{TF32: tf32}).Name()
		if !strings.HasPrefix(name, "cuda:0 ") || !strings.Contains(name, "(sm_") || !strings.Contains(name, "cuBLAS ") || !strings.HasSuffix(name, end) {
			t.Errorf("with TF32 %v the name is %q", tf32, name)
		}
	}
}

func TestMemoryOverTheLimitIsExhausted(t *testing.T) {
	b := open(t, Options{MemoryLimit: 64 << 20})
	before := b.DeviceMemory()
	x, err := b.Alloc(device.U8, 16<<20)
	if err != nil {
		t.Fatal(err)
	}
	if used := b.DeviceMemory().Used - before.Used; used != 16<<20 || b.Allocated() != b.DeviceMemory().Used {
		t.Errorf("16 MiB count as %d bytes, of %d allocated", used, b.Allocated())
	}
	_, err = b.Alloc(device.Real, 15<<20)
	for _, part := range []string{"60 MiB for real[15728640] do not fit", "the limit of this process is 64 MiB", "are free"} {
		if fault.KindOf(err) != fault.Exhausted || !strings.Contains(err.Error(), part) {
			t.Errorf("over the limit: got %v, want an exhausted fault with %q", err, part)
		}
	}
	if b.Err() != nil {
		t.Errorf("what does not fit breaks the backend: %v", b.Err())
	}
	b.Free(x)
	if after := b.DeviceMemory(); after.Used != before.Used || after.Limit != 64<<20 {
		t.Errorf("%+v once all is freed, %+v before", after, before)
	}
	if x, err = b.Alloc(device.Real, 8<<20); err != nil {
		t.Fatalf("once there is room: %v", err)
	}
	// What kernels work with counts too.
	_, err = b.Prepare(device.MatMul{Batch: 1, M: 8 << 20, N: 1, K: 2, BF16: true})
	if text := "32 MiB for operands in bfloat16 do not fit"; fault.KindOf(err) != fault.Exhausted || !strings.Contains(err.Error(), text) {
		t.Errorf("room for operands over the limit: got %v, want an exhausted fault with %q", err, text)
	}
	b.Free(x)
}

func TestMemoryThatTheGPULacksIsExhausted(t *testing.T) {
	b := open(t, Options{})
	_, err := b.Alloc(device.Real, int(b.DeviceMemory().Total/4)+1<<20)
	if fault.KindOf(err) != fault.Exhausted || !strings.Contains(err.Error(), "the GPU has no more") {
		t.Errorf("more than there is: got %v, want an exhausted fault", err)
	}
	if b.Err() != nil {
		t.Error(b.Err())
	}
}

func TestFreedMemoryIsNotUsed(t *testing.T) {
	b := open(t, Options{})
	x, _ := b.Alloc(device.Real, 8)
	y, _ := b.Alloc(device.Real, 4)
	exec, err := b.Prepare(device.Act{N: 4})
	if err != nil {
		t.Fatal(err)
	}
	view := b.View(x, 4, 4)
	b.Free(x)
	for name, use := range map[string]func(){
		"Run": func() { exec.Run([]device.Buffer{view, y}) }, "Write": func() { b.Write(view, make([]float32, 4)) },
		"Copy": func() { b.Copy(y, view) },
	} {
		func() {
			defer func() {
				if text, _ := recover().(string); !strings.Contains(text, "freed") {
					t.Errorf("%s of a view of freed memory: panic %q", name, text)
				}
			}()
			use()
		}()
	}
}

func TestSharedMemoryIsCopiedWithoutStaging(t *testing.T) {
	b := open(t, Options{})
	const n = 1 << 20
	memory, err := syscall.Mmap(-1, 0, 2*4*n, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.ShareHost(memory); err != nil {
		t.Fatal(err)
	}
	both := unsafe.Slice((*float32)(unsafe.Pointer(&memory[0])), 2*n)
	values, back := both[:n], both[n:]
	other := open(t, Options{}) // on the same GPU, in the same context
	if err := other.ShareHost(memory); err != nil {
		t.Fatal(err)
	}
	x, _ := b.Alloc(device.Real, n)
	y, _ := b.Alloc(device.Real, n)
	double, err := b.Prepare(device.Scale{N: n})
	if err != nil {
		t.Fatal(err)
	}
	fill := func(v float32) {
		for i := range values {
			values[i] = v + float32(i%100)
		}
	}
	expect := func(when string, v float32) {
		t.Helper()
		b.Read(back, y)
		for i, got := range back {
			if want := v + 2*float32(i%100); got != want {
				t.Fatalf("%s: element %d is %g, want %g", when, i, got, want)
			}
		}
	}
	fill(3)
	b.Write(x, values)
	fill(999)
	double.Run([]device.Buffer{x, y}, 2, 0)
	expect("written", 6)
	if b.staging[0].memory != nil {
		t.Error("staging memory was used")
	}
	for round := range 5 { // beside the work on what was there before
		fill(float32(round))
		other, _ := b.Alloc(device.Real, n)
		if !b.Prefetch(other, values) {
			t.Fatal("nothing is fetched ahead")
		}
		double.Run([]device.Buffer{x, y}, 2, 0)
		b.Join()
		double.Run([]device.Buffer{other, y}, 2, 0)
		expect("fetched ahead", 2*float32(round))
		b.Free(other)
	}
	if b.Prefetch(x, make([]float32, n)) {
		t.Error("memory that was not shared is fetched ahead")
	}
}

func TestTF32RoundsProducts(t *testing.T) {
	const side = 256
	for tf32, want := range map[bool]float32{false: side + side/4096.0, true: side} {
		b := open(t, Options{TF32: tf32})
		if tf32 && b.ctx.Properties().Capability < 80 {
			t.Skip("this GPU has no TF32")
		}
		exec, err := b.Prepare(device.MatMul{Batch: 1, M: side, N: side, K: side})
		if err != nil {
			t.Fatal(err)
		}
		bufs := make([]device.Buffer, 5)
		values := make([]float32, side*side)
		for _, i := range []int{0, 1, 4} {
			if bufs[i], err = b.Alloc(device.Real, side*side); err != nil {
				t.Fatal(err)
			}
			for j := range values {
				values[j] = 1
				if i == 0 {
					values[j] += 1.0 / 4096 // beyond the ten bits of TF32
				}
			}
			b.Write(bufs[i], values)
		}
		exec.Run(bufs)
		b.Read(values, bufs[4])
		if values[0] != want || values[side*side-1] != want {
			t.Errorf("with TF32 %v the sum of %d times 1 + 2⁻¹² is %v, want %v", tf32, side, values[0], want)
		}
	}
}
