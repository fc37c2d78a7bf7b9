package program

import (
	"fmt"
	"io"
	"os"
	"time"

	"tandem/core/clip"
	"tandem/core/engine/device"
	"tandem/core/engine/device/devices"
	"tandem/core/engine/graph"
	"tandem/core/engine/profile"
	"tandem/core/fault"
	"tandem/core/tensor"
)

// A Session holds the device that a plugin computes on, from Plan or Configure until Close, and notes what is
// computed there.
type Session struct {
	// Backend is nil until Open.
	Backend device.Backend

	open     func(clip.Compute) (device.Backend, error)
	planned  device.Backend // left open by Plan; nil: none
	shown    map[*byte]bool // the first bytes of memory that was shown to the backend
	refused  int64          // bytes of it that the backend refused
	work     float64
	recorder profile.Recorder
	programs interface{ SetProfile(func(graph.Event)) } // nil: none yet
}

// OpenDevice opens the device of a configuration.
func OpenDevice(c clip.Compute) (device.Backend, error) {
	return devices.OpenWith(c.Device, devices.Options{Threads: c.Threads, Precision: c.Precision, MemoryLimit: c.MemoryLimit})
}

// NewSession returns a session whose Open and Plan open devices with open.
func NewSession(open func(clip.Compute) (device.Backend, error)) *Session {
	return &Session{open: open}
}

// Plan opens a device to ask for its memory, and leaves it open until Open or Close, so that plugins that share one
// see what each other's libraries take. backend is nil when the device has no memory of its own: then there is
// nothing to plan. used is what the device's libraries take already, in bytes.
func (s *Session) Plan(c clip.Compute) (out clip.Plan, backend device.Backend, used int64, err error) {
	if s.planned == nil {
		if s.planned, err = s.open(c); err != nil {
			return out, nil, 0, err
		}
	}
	out.Device, _ = devices.Resolve(c.Device)
	meter, ok := s.planned.(device.MemoryMeter)
	if !ok {
		return out, nil, 0, nil
	}
	now := meter.DeviceMemory()
	out.Free, out.Total = now.Free, now.Total
	return out, s.planned, now.Used, nil
}

// Open opens the device of a configuration. The caller sets Backend when all else went well, and closes what Open
// returned when not.
func (s *Session) Open(c clip.Compute) (device.Backend, error) {
	backend, err := s.open(c)
	s.closePlanned()
	return backend, err
}

// Use makes a backend that Open returned the session's, and programs those that SetProfile reaches.
func (s *Session) Use(backend device.Backend, programs interface{ SetProfile(func(graph.Event)) }) {
	s.Backend, s.programs, s.shown = backend, programs, map[*byte]bool{}
	programs.SetProfile(s.recorder.Hook())
}

// Pins reports whether the backend copies faster from host memory that Share shows it.
func (s *Session) Pins() bool {
	_, ok := s.Backend.(device.HostSharer)
	return ok
}

// Share shows the backend the memory of tensors, each once, so that hardware reads and writes it by itself. A nil
// tensor is skipped.
func (s *Session) Share(tensors ...*tensor.Tensor) {
	sharer, ok := s.Backend.(device.HostSharer)
	if !ok {
		return
	}
	for _, t := range tensors {
		if t != nil && len(t.Pages) > 0 && !s.shown[&t.Pages[0]] {
			s.shown[&t.Pages[0]] = true
			if err := sharer.ShareHost(t.Pages); err != nil && device.Err(s.Backend) == nil {
				s.noteRefused(len(t.Pages), err)
			}
		}
	}
}

// warnings is where what costs speed is told.
var warnings io.Writer = os.Stderr

// noteRefused counts memory that the backend refused, which is copied once more, and warns of the first.
func (s *Session) noteRefused(bytes int, why error) {
	if s.refused == 0 {
		fmt.Fprintf(warnings, "warning: shared memory cannot be pinned, and is copied once more on its way to the GPU: %s\n", fault.PrintableLine(why.Error()))
	}
	s.refused += int64(bytes)
}

// Unpinned returns, as a part of a plugin's memory, the bytes that the backend refused to pin; none when it refused nothing.
func (s *Session) Unpinned() []clip.MemoryPart {
	if s.refused == 0 {
		return nil
	}
	return []clip.MemoryPart{{Name: "not pinned", Bytes: s.refused}}
}

// Result returns the tensor for a result, f32 [batch, dim]: into when it fits, else a new one.
func Result(into *tensor.Tensor, batch, dim int) *tensor.Tensor {
	return Place(into, tensor.F32, batch, dim)
}

// Place returns the tensor for a result of any form: into when it fits, else a new one.
func Place(into *tensor.Tensor, dtype tensor.DType, shape ...int) *tensor.Tensor {
	if into != nil && into.DType == dtype && into.Shape.Equal(shape) {
		return into
	}
	return tensor.New(dtype, shape...)
}

// AddWork counts floating-point operations.
func (s *Session) AddWork(flops float64) { s.work += flops }

// Work returns the floating-point operations counted so far (clip.Meter).
func (s *Session) Work() float64 { return s.work }

// SetProfile begins or ends the noting of kernels (clip.Profiler).
func (s *Session) SetProfile(on bool) {
	s.recorder.SetProfile(on)
	if s.programs != nil {
		s.programs.SetProfile(s.recorder.Hook())
	}
}

// Profiling reports whether kernels are noted.
func (s *Session) Profiling() bool { return s.recorder.Hook() != nil }

// Note notes an operation that is no kernel of a program, and that began at start and ends now.
func (s *Session) Note(op, scope string, bytes float64, start time.Time) {
	s.recorder.Note(op, scope, bytes, start)
}

// KernelRuns returns what was noted since its last call (clip.Profiler).
func (s *Session) KernelRuns() []clip.KernelRun { return s.recorder.KernelRuns() }

// OnHeap returns how many of the backend's bytes lie on Go's heap.
func (s *Session) OnHeap() int64 { return profile.OnHeap(s.Backend) }

// Exhausted adds to a fault.Exhausted what memory there is, what parts have been taken, and what the program that was
// to run needs; plan is nil when it was not compiled. Other errors pass unchanged.
func (s *Session) Exhausted(err error, taken []clip.MemoryPart, plan *graph.MemoryPlan, remedy string) error {
	var wanted []clip.MemoryPart
	if plan != nil {
		wanted = []clip.MemoryPart{{Name: "activations", Bytes: plan.Activations}, {Name: "workspace", Bytes: plan.Accumulating}}
	}
	return profile.Exhausted(err, s.Backend, taken, wanted, remedy)
}

// Close closes the device, and the one that Plan left open.
func (s *Session) Close() error {
	s.closePlanned()
	if s.Backend == nil {
		return nil
	}
	err := s.Backend.Close()
	s.Backend = nil
	return err
}

func (s *Session) closePlanned() {
	if s.planned != nil {
		s.planned.Close()
		s.planned = nil
	}
}
