package device

import "time"

// What follows is for backends whose hardware computes while the host goes on, and whose memory the host cannot
// see. Backends need none of it: callers ask by type assertion, or by Err and Read.

// Asynchronous is implemented by backends whose Run, Write, Copy and Zero may return before the work is done, so
// that what went wrong shows later.
type Asynchronous interface {
	// Err returns the first error of any work since the backend was made, as far as it is known; it waits for
	// nothing. An error stays, and memory is undefined after it. It is fault.Exhausted when the hardware's
	// memory did not do, else fault.Internal. Read waits for the work that it depends on, so that Err after
	// a Read knows of all that came before.
	Err() error
	// Wait waits for all work and returns Err: for those who measure.
	Wait() error
}

// Err returns the first error of the work of a backend that is Asynchronous; nil for one that is not.
func Err(b Backend) error {
	if a, ok := b.(Asynchronous); ok {
		return a.Err()
	}
	return nil
}

// Wait waits for the work of a backend that is Asynchronous.
func Wait(b Backend) error {
	if a, ok := b.(Asynchronous); ok {
		return a.Wait()
	}
	return nil
}

// Read calls Backend.Read and returns Err: what was read counts only without an error.
func Read(b Backend, values any, src Buffer) error {
	b.Read(values, src)
	return Err(b)
}

// WideReal is implemented by backends whose Real may be float64. Read and Write then take []float64 for it.
type WideReal interface{ IsWide() bool }

func isWide(b Backend) bool {
	w, ok := b.(WideReal)
	return ok && w.IsWide()
}

// ReadDoubles reads a buffer of Real as float64 and returns Err, as Read does.
func ReadDoubles(b Backend, values []float64, src Buffer) error {
	if isWide(b) {
		return Read(b, values, src)
	}
	narrow := make([]float32, len(values))
	err := Read(b, narrow, src)
	for i, v := range narrow {
		values[i] = float64(v)
	}
	return err
}

// WriteDoubles writes values to a buffer of Real, rounded to it.
func WriteDoubles(b Backend, dst Buffer, values []float64) {
	if isWide(b) {
		b.Write(dst, values)
		return
	}
	narrow := make([]float32, len(values))
	for i, v := range values {
		narrow[i] = float32(v)
	}
	b.Write(dst, narrow)
}

// Recorder is implemented by backends that can record work once and then start all of it by one call, any number
// of times.
type Recorder interface {
	// Record calls run, which may use Exec.Run, Copy and Zero of this backend alone, and records what they
	// would do with the buffers and scalars that they are given. None of it is done before Replay. A recording does
	// not depend on what was computed before, such as rounded copies of weights: a Replay after
	// ParamsChanged or Write gives what running plainly would give, to the bit. Record returns an error of run as
	// it is. Work that cannot be recorded is fault.Unavailable. After an error nothing is recorded and the
	// backend is as it was.
	Record(run func() error) (Recording, error)
}

// Recording holds recorded work of one backend. It is valid as long as the buffers that it uses.
type Recording interface {
	// Replay starts the work, in order with all other work of the backend. Errors are those of Asynchronous.Err.
	Replay() error
	// Stale reports whether memory of the backend itself which the work uses has moved since (a later Prepare
	// may grow scratch). Then do not Replay: Release and record again.
	Stale() bool
	// Release frees the recording. The work that Replay started goes on.
	Release()
}

// HostSharer is implemented by backends that copy faster from and to host memory which they know beforehand.
type HostSharer interface {
	// ShareHost makes memory known until Close; it must stay mapped until then. Write, Read and
	// Prefetch of values in it need no copy in between. It may be refused (fault.Unavailable,
	// fault.Exhausted): everything works all the same.
	ShareHost(memory []byte) error
}

// Timer is implemented by backends that have a clock of their own beside the work.
type Timer interface {
	// Time calls run, which enqueues work, n times, and returns how long the hardware took for each: without what the
	// host needs to start the first. It waits for all of it.
	Time(n int, run func()) ([]time.Duration, error)
}

// HostViewer is implemented by backends whose memory is the host's.
type HostViewer interface {
	// ViewHost returns a buffer of Real that shows values, which Free leaves alone; nil where Real is no float32. The values must stay
	// where they are as long as it is used.
	ViewHost(values []float32) Buffer
}

// Prefetcher is implemented by backends that copy host memory in while they do other work.
type Prefetcher interface {
	// Prefetch begins to copy values into dst, as Write would: after the work that was asked for before
	// the call, beside what is asked for later. It does not wait. values must lie in memory given to ShareHost.
	// Until the next Join, dst must not be used and values must stay mapped; if they change meanwhile, dst is
	// undefined and nothing else. Prefetch returns false when nothing is copied.
	Prefetch(dst Buffer, values any) bool
	// Join makes work that is asked for from now on come after every Prefetch. It does not wait.
	Join()
}

// Communicator is implemented by backends that add arrays up over processes by themselves.
type Communicator interface {
	// JoinRanks makes this backend rank of the size ranks that have the same id, once, and waits for all of them. Hardware that
	// another rank has is fault.Invalid; a library that is missing fault.Unavailable.
	JoinRanks(id []byte, rank, size int) error
	// SumOverRanks adds a buffer of Real up over all ranks, in place, after the work asked for before. All ranks call it, in the same
	// order and with equal lengths, and get the same bits. Errors are those of Asynchronous.
	SumOverRanks(Buffer)
}

// Fuser is implemented by backends with kernels that others lack: those that do the work of two at once.
type Fuser interface {
	// Fuses reports whether Prepare takes a kernel that only a Fuser may have.
	Fuses(Kernel) bool
}

// MemoryCounter is implemented by backends that count the memory they take.
type MemoryCounter interface {
	// Allocated returns the bytes of all that the backend took: buffers, and what kernels keep and work with.
	Allocated() int64
}

// Packer is implemented by backends that keep packed copies of parameters.
type Packer interface {
	// Packed returns their bytes, a part of Allocated.
	Packed() int64
}

// HeapUser is implemented by backends whose memory lies on Go's heap.
type HeapUser interface {
	// OnHeap returns its bytes.
	OnHeap() int64
}

// Memory tells how much of the hardware's memory is in use, in bytes.
type Memory struct {
	Used    int64 // by buffers and all else that the backend allocated
	Scratch int64 // of Used: what kernels work with
	Limit   int64 // of Used; 0: none
	Free    int64 // of the hardware, whoever uses the rest
	Total   int64 // of the hardware
}

// MemoryMeter is implemented by backends that know how much memory their hardware has.
type MemoryMeter interface {
	// DeviceMemory returns the present state. Free and Total are 0 when they cannot be found out.
	DeviceMemory() Memory
}
