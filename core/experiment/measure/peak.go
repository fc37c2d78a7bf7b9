package measure

import (
	"runtime"
	"time"

	"tandem/core/clip"
	"tandem/core/engine/device/devices"
	"tandem/core/experiment/assemble"
	"tandem/core/experiment/spec"
)

// A peak measures the device's rate of matrix products again and again, because other programs may take a part of
// the machine at any one time; the best counts.
type peak struct {
	gflops  float64 // 0 where the device cannot be measured from here
	bytes   int64   // of memory that measuring takes
	measure func(limit time.Duration) (float64, error)
	close   func() error
}

func openPeak(s *spec.Spec) *peak {
	b, err := devices.OpenWith(s.Image.Device, devices.Options{Threads: assemble.Threads(s, 0)[assemble.RoleImage], Precision: s.Train.Precision})
	if err != nil {
		return &peak{}
	}
	return &peak{bytes: devices.PeakMemory(b), close: b.Close, measure: func(limit time.Duration) (float64, error) {
		runtime.LockOSThread() // OpenMP has a pool of threads for each that calls it
		defer runtime.UnlockOSThread()
		return devices.PeakGFLOPSIn(limit, b, clip.Compute{Precision: s.Train.Precision}.BF16())
	}}
}

// measureLong takes half a second or so.
func (p *peak) measureLong(w Watcher) {
	w.Doing("measuring the peak")
	p.within(400 * time.Millisecond)
	w.Doing("")
}

// measureShort takes a fraction of that, and nothing on devices that are slow at it.
func (p *peak) measureShort() {
	const fast = 30 // GFLOP/s: a product takes a quarter of a second at most
	if p.gflops > fast {
		p.within(30 * time.Millisecond)
	}
}

func (p *peak) within(limit time.Duration) {
	if p.measure == nil {
		return
	}
	if rate, err := p.measure(limit); err == nil {
		p.gflops = max(p.gflops, rate)
	}
}

func (p *peak) Close() error {
	if p.close == nil {
		return nil
	}
	return p.close()
}

// peakGBs measures the device's rate of memory, in 10⁹ bytes a second; 0 where it cannot be measured from here.
func peakGBs(s *spec.Spec, w Watcher) float64 {
	w.Doing("measuring the memory")
	defer w.Doing("")
	b, err := devices.Open(s.Image.Device, assemble.Threads(s, 0)[assemble.RoleImage])
	if err != nil {
		return 0
	}
	defer b.Close()
	rate, err := devices.PeakBytes(b)
	if err != nil {
		return 0
	}
	return rate / 1e9
}
