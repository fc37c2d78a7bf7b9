package device

// What follows is for backends on hardware of its own, which computes while the host goes on and whose
// memory the host cannot see. Backends need none of it: callers ask by type assertion, or by Err and Read.

// Asynchronous is a backend whose Run, Write, Copy and Zero may return before the work is done, so that
// what went wrong shows later.
type Asynchronous interface {
	// Err is the first error of any work since the backend was made, as far as it is known; it waits for
	// nothing. Once there is one it stays, and memory is undefined: fault.Exhausted, when the hardware's
	// memory did not do, or fault.Internal. Read waits for the work that it depends on, so that Err after
	// a Read knows of all that came before.
	Err() error
	// Wait waits for all work and is Err then: for those who measure.
	Wait() error
}

// Err is the first error of the work of a backend that is Asynchronous; nil for one that is not.
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

// Read is Backend.Read and then Err: what was read counts only without an error.
func Read(b Backend, values any, src Buffer) error {
	b.Read(values, src)
	return Err(b)
}

// Recorder is a backend that can note work once and then start it at a stroke, as often as wanted.
type Recorder interface {
	// Record calls run, which uses Exec.Run, Copy and Zero of this backend alone, and notes what they
	// would do, with the buffers and scalars that they are given; none of it is done before Replay. It does
	// not depend on what was computed before, such as rounded copies of weights: a Replay after
	// ParamsChanged or Write gives what running plainly would give, to the bit. An error of run is
	// Record's. Work that cannot be noted is fault.Unavailable. After an error nothing is noted and the
	// backend is as it was.
	Record(run func() error) (Recording, error)
}

// Recording is noted work of one backend, valid while the buffers that it uses are.
type Recording interface {
	// Replay does the work, in order with all other work of the backend. Errors are Asynchronous.Err's.
	Replay() error
	// Stale says that memory of the backend's own which the work uses has moved since (scratch, which a
	// later Prepare may grow): do not Replay, Release and record again.
	Stale() bool
	// Release frees the recording. The work that Replay started goes on.
	Release()
}

// HostSharer is a backend that copies faster from and to host memory that it knows beforehand.
type HostSharer interface {
	// ShareHost makes memory known until Close, by which time it must still be mapped: Write, Read and
	// Prefetch of values in it need no copy in between. It may be refused (fault.Unavailable,
	// fault.Exhausted): everything works all the same then.
	ShareHost(memory []byte) error
}

// Prefetcher is a backend that copies host memory in beside the work that it does.
type Prefetcher interface {
	// Prefetch begins to copy values, as Write would, into dst: after the work that was asked for before
	// the call, beside what is asked for later. It does not wait. Until the Join that follows, dst is not
	// to be used and values, which must lie in memory given to ShareHost, have to stay mapped; when they
	// change meanwhile dst is undefined, and nothing else is. False says that nothing is copied.
	Prefetch(dst Buffer, values any) bool
	// Join makes work that is asked for from now on come after every Prefetch. It does not wait.
	Join()
}

// Memory is how much of the hardware's memory is in use, in bytes.
type Memory struct {
	Used    int64 // by buffers and all else that the backend allocated
	Scratch int64 // of Used: what kernels work with
	Limit   int64 // of Used; 0: none
	Free    int64 // of the hardware, whoever uses the rest
	Total   int64 // of the hardware
}

// MemoryMeter is a backend that knows how much memory its hardware has.
type MemoryMeter interface {
	// DeviceMemory is the present state. Free and Total are 0 when they cannot be found out.
	DeviceMemory() Memory
}
