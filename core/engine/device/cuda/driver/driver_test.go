//go:build clipcuda

package driver

import (
	"math"
	"os"
	"os/exec"
	"strings"
	"testing"
	"unsafe"

	"tandem/core/fault"
)

// open makes a context on the first GPU, or on the double of the driver, which `make test-cuda` puts there.
func open(t *testing.T) *Context {
	t.Helper()
	c, err := Open(0)
	if fault.KindOf(err) == fault.Unavailable && os.Getenv("TANDEM_CUDA_DOUBLE") == "" {
		t.Skipf("neither a GPU nor the test double (make test-cuda): %v", err)
	}
	must(t, err)
	t.Cleanup(func() { must(t, c.Close()) })
	return c
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(fault.Format(err))
	}
}

// refused checks an error's kind and that it and its hint say all of words.
func refused(t *testing.T, err error, kind fault.Kind, words ...string) {
	t.Helper()
	text := ""
	if err != nil {
		text = fault.Format(err)
	}
	for _, w := range words {
		if fault.KindOf(err) != kind || !strings.Contains(text, w) {
			t.Errorf("got kind %q: %s\nwant kind %q and %q", fault.KindOf(err), text, kind, w)
		}
	}
}

// alone runs the test in a process of its own with more environment, or says that it is in there: what is
// told of a machine is read once.
//
// A test that skips in there fails.
func alone(t *testing.T, env ...string) bool {
	t.Helper()
	const inside = "TANDEM_DRIVER_TEST"
	if os.Getenv(inside) == t.Name() {
		return true
	}
	c := exec.Command(os.Args[0], "-test.v", "-test.run=^"+strings.ReplaceAll(t.Name(), "/", "$/^")+"$")
	c.Env = append(append(os.Environ(), inside+"="+t.Name()), env...)
	if said, err := c.CombinedOutput(); err != nil || !strings.Contains(string(said), "--- PASS") {
		t.Errorf("with %q: %v\n%s", env, err, said)
	}
	return false
}

// double skips a test of what a machine without the double cannot play.
func double(t *testing.T) {
	t.Helper()
	if os.Getenv("TANDEM_CUDA_DOUBLE") == "" {
		t.Skip("only through the test double (make test-cuda)")
	}
}

// array puts numbers into device memory.
func array(t *testing.T, c *Context, s *Stream, values []float32) Ptr {
	t.Helper()
	p, err := c.Alloc(int64(4 * len(values)))
	must(t, err)
	t.Cleanup(func() { must(t, c.Free(p)) })
	must(t, s.CopyIn(p, unsafe.Pointer(&values[0]), 4*len(values)))
	return p
}

// numbers reads n numbers once the stream is done.
func numbers(t *testing.T, s *Stream, p Ptr, n int) []float32 {
	t.Helper()
	values := make([]float32, n)
	must(t, s.CopyOut(unsafe.Pointer(&values[0]), p, 4*n))
	must(t, s.Synchronize())
	return values
}

func stream(t *testing.T, c *Context) *Stream {
	t.Helper()
	s, err := c.NewStream()
	must(t, err)
	t.Cleanup(func() { must(t, s.Destroy()) })
	return s
}

const elementwise = "../kernels/ptx/elementwise_70.ptx"

// module loads the PTX of a file of core/engine/device/cuda/kernels.
func module(t *testing.T, c *Context) *Module {
	t.Helper()
	ptx, err := os.ReadFile(elementwise)
	must(t, err)
	m, err := c.Load("elementwise", string(ptx))
	must(t, err)
	t.Cleanup(func() { must(t, m.Unload()) })
	return m
}

// scale computes y [n] = alpha x [n] + beta.
func scale(t *testing.T, m *Module, s *Stream, x, y Ptr, n int, alpha, beta float64) error {
	t.Helper()
	f, err := m.Function("scale")
	must(t, err)
	return s.Launch(f, Dim{X: (n + 255) / 256}, Dim{X: 256}, 0,
		[]uint64{uint64(x), uint64(y), uint64(n), math.Float64bits(alpha), math.Float64bits(beta), 0, 0})
}

func equal(t *testing.T, got []float32, want ...float32) {
	t.Helper()
	for i := range want {
		if len(got) != len(want) || got[i] != want[i] {
			t.Fatalf("got %v, want %v", got, want)
		}
	}
}
