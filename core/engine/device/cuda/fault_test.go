//go:build clipcuda

package cuda

import (
	"fmt"
	"os"
	process "os/exec"
	"strings"
	"testing"

	"tandem/core/engine/device"
	"tandem/core/engine/device/cuda/driver"
	"tandem/core/fault"
)

// inProcess runs the calling test alone in a process of its own, and gives what that printed; in there, it
// says so. A kernel that faults ends the context of its process, and the double's GPU is chosen once.
func inProcess(t *testing.T, env ...string) (output string, inside bool) {
	t.Helper()
	const mark = "TANDEM_CUDA_TEST_CHILD"
	if os.Getenv(mark) == t.Name() {
		return "", true
	}
	open(t, Options{}) // skips where there is none
	cmd := process.Command(os.Args[0], "-test.run=^"+strings.ReplaceAll(t.Name(), "/", "$/^")+"$", "-test.v")
	cmd.Env = append(append(os.Environ(), mark+"="+t.Name()), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out), false
}

func TestAFaultIsToldWithTheLastLaunches(t *testing.T) {
	output, inside := inProcess(t)
	if !inside {
		for _, part := range []string{"internal: cuda:0", "last launches, the latest first:", "act grid 1,1,1", "scale grid"} {
			if !strings.Contains(output, part) {
				t.Errorf("an error does not say %q:\n%s", part, output)
			}
		}
		return
	}
	opened, err := Open(0, Options{})
	if err != nil {
		t.Fatal(err)
	}
	b := opened.(*Backend)
	x, err := b.Alloc(device.Real, 64)
	if err != nil {
		t.Fatal(err)
	}
	scale, err := b.Prepare(device.Scale{N: 64})
	if err != nil {
		t.Fatal(err)
	}
	scale.Run([]device.Buffer{x, x}, 2, 1)
	wild, err := b.step(over(4, "act", arg(0), driver.Ptr(64), 4, 0, 0, 0))
	if err != nil {
		t.Fatal(err)
	}
	b.noteError(b.start(&wild, &call{b: b, addr: []driver.Ptr{x.(*buffer).at}}))
	values := make([]float32, 64)
	b.Read(values, x)
	first := b.Err()
	fmt.Printf("%s: %s\n", fault.KindOf(first), fault.Format(first))
	// From here on nothing is done, and nothing panics or hides the first error.
	b.Write(x, values)
	scale.Run([]device.Buffer{x, x}, 2, 1)
	b.Copy(x, x)
	b.Zero(x)
	if _, err := b.Record(func() error { return nil }); err != first {
		t.Errorf("a recording after the error gives %v", err)
	}
	if _, err := b.Alloc(device.Real, 4); err == nil {
		t.Error("memory is given after the error")
	}
	if b.Free(x); b.Err() != first {
		t.Errorf("the error became %v", b.Err())
	}
	if err := b.Close(); err != nil {
		t.Errorf("Close says it again: %v", err)
	}
}

func TestOlderGPUsHaveNoBF16(t *testing.T) {
	if os.Getenv("TANDEM_CUDA_DOUBLE") == "" {
		t.Skip("only the test double can be an older GPU")
	}
	if _, inside := inProcess(t, "TANDEM_CUDA_DOUBLE_CAPABILITY=7.5"); !inside {
		return
	}
	b := open(t, Options{TF32: true})
	k := device.MatMul{Batch: 1, M: 4, N: 4, K: 4}
	if _, err := b.Prepare(k); err != nil {
		t.Errorf("float32 on sm_75: %v", err)
	}
	_, err := b.Prepare(device.WithBF16(k))
	if fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "7.5, bfloat16 needs 8.0") {
		t.Errorf("bfloat16 on sm_75: got %v, want an unavailable fault", err)
	}
}

func TestLaunchesAreHeldToTheirLimits(t *testing.T) {
	b := open(t, Options{})
	ok := over(4, "act", arg(0), arg(1), 4, 0, 0, 0)
	for name, c := range map[string]struct {
		change func(*launch)
		kind   fault.Kind
	}{
		"an unknown kernel":        {func(l *launch) { l.entry = "nothing" }, fault.Unavailable},
		"too few parameters":       {func(l *launch) { l.params = l.params[1:] }, fault.Internal},
		"too many threads":         {func(l *launch) { l.block = dim{x: 32, y: 32, z: 2} }, fault.Internal},
		"too high a grid":          {func(l *launch) { l.grid = dim{y: 65536} }, fault.Unavailable},
		"too wide a grid":          {func(l *launch) { l.grid = dim{x: 1 << 31} }, fault.Unavailable},
		"more shared memory":       {func(l *launch) { l.shared = 1 << 20 }, fault.Unavailable},
		"much, but enough of that": {func(l *launch) { l.shared = 90 << 10 }, ""},
	} {
		l := ok
		c.change(&l)
		if _, err := b.step(l); fault.KindOf(err) != c.kind {
			t.Errorf("%s: got %v, want %q", name, err, c.kind)
		}
	}
}

func TestDevicesListsWhatOpenTakes(t *testing.T) {
	if os.Getenv("TANDEM_CUDA_DOUBLE") == "" {
		t.Skip("only the test double can be an older GPU")
	}
	for capability, fit := range map[string]bool{"8.6": true, "6.1": false} {
		t.Run(capability, func(t *testing.T) {
			if _, inside := inProcess(t, "TANDEM_CUDA_DOUBLE_CAPABILITY="+capability, "TANDEM_CUDA_DOUBLE_DEVICES=2"); !inside {
				return
			}
			list, err := Devices()
			if err != nil || len(list) != 2 {
				t.Fatalf("%d devices, %v", len(list), err)
			}
			for i, d := range list {
				b, err := Open(i, Options{})
				if err == nil {
					b.Close()
				}
				if text := fmt.Sprintf("%d.%d", d.Major, d.Minor); d.N != i || text != capability || d.TotalMemory < 1<<30 || !strings.Contains(d.Driver, "CUDA ") {
					t.Errorf("device %d is listed as %+v", i, d)
				}
				if (d.Why == nil) != fit || (err == nil) != fit || fault.KindOf(d.Why) != fault.KindOf(err) {
					t.Errorf("device %d: listed with %v, opens with %v", i, d.Why, err)
				}
			}
			if _, err := Open(2, Options{}); fault.KindOf(err) != fault.Unavailable {
				t.Errorf("a device that is not listed opens with %v", err)
			}
		})
	}
}
