package devices

import (
	"testing"
	"time"

	"tandem/core/engine/device"
	"tandem/core/engine/device/reference"
)

// clocked is a backend whose hardware says how long its work took.
type clocked struct {
	device.Backend
	took  []time.Duration
	asked int
}

func (c *clocked) Time(n int, run func()) ([]time.Duration, error) {
	c.asked = n
	run()
	return c.took, nil
}

func TestABackendsClockCountsAndElseTheHosts(t *testing.T) {
	plain := reference.New[float32](1)
	defer plain.Close()
	out, err := plain.Alloc(device.Real, 4)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Free(out)
	runs := 0
	run := func() { runs++; time.Sleep(2 * time.Millisecond) }
	took, err := runTime(plain, time.Hour, 5, run, out)
	if err != nil || runs != 5 || took < 2*time.Millisecond {
		t.Errorf("by the host's clock %v after %d runs, %v; want at least 2ms after 5", took, runs, err)
	}
	runs = 0
	c := &clocked{Backend: plain, took: []time.Duration{90, 20, 30, 10, 80}}
	took, err = runTime(c, time.Hour, 7, run, out)
	if err != nil || took != 30 || c.asked != 7 || runs != 2 {
		t.Errorf("by the backend's clock %v of %d runs, %d seen, %v; want the median, 30ns, of 7, one of them before", took, c.asked, runs, err)
	}
	c.took = []time.Duration{0, 0, 0}
	if took, err = runTime(c, 0, 7, run, out); err != nil || took != 1 || c.asked != 3 {
		t.Errorf("without time %v of %d runs, %v; want 1ns, as a rate divides by it, of 3", took, c.asked, err)
	}
	if n := PeakMemory(c); n != 0 {
		t.Errorf("a device with a clock takes %d bytes of the host", n)
	}
}
