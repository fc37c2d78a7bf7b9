//go:build clipcuda

package cuda

import (
	"testing"
	"time"

	"tandem/core/engine/device"
	"tandem/core/fault"
)

func TestTimeRunsAsOftenAsAskedAndRefusesWithinARecording(t *testing.T) {
	b := open(t, Options{})
	x, err := b.Alloc(device.Real, 64)
	if err != nil {
		t.Fatal(err)
	}
	scale, err := b.Prepare(device.Scale{N: 64})
	if err != nil {
		t.Fatal(err)
	}
	values := make([]float32, 64)
	values[3] = 1
	b.Write(x, values)
	runs := 0
	run := func() { runs++; scale.Run([]device.Buffer{x, x}, 2, 0) }
	took, err := b.Time(3, run)
	if err != nil || runs != 3 || len(took) != 3 {
		t.Fatalf("%v of %d runs, %v", took, runs, err)
	}
	for _, d := range took {
		if d < 0 || d > time.Minute {
			t.Errorf("a run took %v", d)
		}
	}
	if b.Read(values, x); values[3] != 8 {
		t.Errorf("three doublings of 1 give %g", values[3])
	}
	r, err := b.Record(func() error {
		if _, err := b.Time(1, run); fault.KindOf(err) != fault.Conflict {
			t.Errorf("timed within a recording: %v", err)
		}
		run()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	r.Release()
}
