//go:build clipcuda

package driver

import (
	"errors"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"tandem/core/fault"
)

func TestWorkOfAStreamRunsInOrder(t *testing.T) {
	c := open(t)
	s, m := stream(t, c), module(t, c)
	x := array(t, c, s, []float32{1, 2, 3})
	y := array(t, c, s, make([]float32, 3))
	must(t, scale(t, m, s, x, y, 3, 2, 1))
	must(t, s.Copy(x, y, 8))
	must(t, scale(t, m, s, x, x, 3, 10, 0))
	equal(t, numbers(t, s, x, 3), 30, 50, 30)
	must(t, s.Fill32(x, 0x3f800000, 2)) // 1.0
	must(t, s.Fill(x+8, 0, 4))
	equal(t, numbers(t, s, x, 3), 1, 1, 0)
	if idle, err := s.Idle(); !idle || err != nil {
		t.Errorf("idle after it was synchronised: %v, %v", idle, err)
	}
}

func TestEventsOrderStreams(t *testing.T) {
	c := open(t)
	first, second, m := stream(t, c), stream(t, c), module(t, c)
	start, err := c.NewEvent(true)
	must(t, err)
	done, err := c.NewEvent(true)
	must(t, err)
	x := array(t, c, first, []float32{1})
	y := array(t, c, first, []float32{0})
	must(t, start.Record(first))
	for range 10 {
		must(t, scale(t, m, first, x, x, 1, 2, 0))
	}
	must(t, done.Record(first))
	must(t, second.Wait(done))
	must(t, scale(t, m, second, x, y, 1, 1, 0))
	equal(t, numbers(t, second, y, 1), 1024)
	must(t, done.Synchronize())
	took, err := done.Since(start)
	if passed, failed := done.Passed(); !passed || failed != nil || err != nil || took < 0 || took > time.Minute {
		t.Errorf("passed %v (%v), took %v (%v)", passed, failed, took, err)
	}
	must(t, start.Destroy())
	must(t, done.Destroy())
}

func TestPinnedAndRegisteredMemoryIsCopied(t *testing.T) {
	c := open(t)
	s := stream(t, c)
	pinned, err := c.HostAlloc(4096)
	must(t, err)
	mapped, err := syscall.Mmap(-1, 0, 8192, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED|syscall.MAP_ANON)
	must(t, err)
	must(t, c.Register(mapped))
	refused(t, c.Register(mapped), fault.Internal, "ALREADY_REGISTERED")
	p, err := c.Alloc(4096)
	must(t, err)
	for i := range pinned {
		pinned[i] = byte(i)
	}
	must(t, s.CopyIn(p, unsafe.Pointer(&pinned[0]), 4096))
	must(t, s.CopyOut(unsafe.Pointer(&mapped[4096]), p, 4096))
	must(t, s.Synchronize())
	for i, v := range mapped[4096:] {
		if v != byte(i) {
			t.Fatalf("byte %d is %d", i, v)
		}
	}
	must(t, c.Unregister(mapped))
	must(t, syscall.Munmap(mapped))
	must(t, c.HostFree(pinned))
	must(t, c.Free(p))
}

func TestTooMuchMemoryIsExhausted(t *testing.T) {
	c := open(t)
	_, err := c.Alloc(1 << 50)
	refused(t, err, fault.Exhausted, "cuda:0: cuMemAlloc: 1073741824.0 MiB do not fit", "MiB are free", "train.micro_batch_size")
	_, err = c.Alloc(0)
	refused(t, err, fault.Invalid, "0 bytes")
	_, err = c.HostAlloc(0)
	refused(t, err, fault.Invalid, "0 bytes")
	p, err := c.Alloc(4) // all is well afterwards
	must(t, err)
	must(t, c.Free(p))
}

func TestUnknownKernelsAndBadModulesAreNamed(t *testing.T) {
	c := open(t)
	_, err := module(t, c).Function("no_such_kernel")
	refused(t, err, fault.Internal, "cuModuleGetFunction no_such_kernel of elementwise", "CUDA_ERROR_NOT_FOUND (500)")
	_, err = c.Load("nonsense", "this is no PTX")
	if err == nil {
		t.Error("text that is no PTX was loaded")
	}
}

func TestARefusedLaunchNamesTheLastOnes(t *testing.T) {
	c := open(t)
	s, m := stream(t, c), module(t, c)
	x := array(t, c, s, []float32{1})
	must(t, scale(t, m, s, x, x, 1, 2, 0))
	f, err := m.Function("act")
	must(t, err)
	err = s.Launch(f, Dim{}, Dim{X: 2048}, 0, []uint64{uint64(x), uint64(x), 1, 0, 0, 0})
	refused(t, err, fault.Internal, "cuLaunchKernel", "CUDA_ERROR_INVALID_VALUE", "act grid 1,1,1 block 2048,1,1 shared 0", "scale grid 1,1,1 block 256,1,1")
	equal(t, numbers(t, s, x, 1), 2)
}

func TestAFaultOfAKernelIsToldWhenItIsWaitedFor(t *testing.T) {
	double(t)      // a GPU finds what leaves a page, the double what leaves an array
	if !alone(t) { // it ends the context, which then frees nothing
		return
	}
	c, err := Open(0)
	must(t, err)
	s, err := c.NewStream()
	must(t, err)
	blas, err := c.OpenBLAS(s)
	must(t, err)
	ptx, err := os.ReadFile(elementwise)
	must(t, err)
	m, err := c.Load("elementwise", string(ptx))
	must(t, err)
	x, err := c.Alloc(256)
	must(t, err)
	must(t, s.Fill(x, 0, 256))
	must(t, blas.Multiply(Product{M: 2, N: 3, K: 4, Batch: 1, A: x, B: x, C: x + 128, Alpha: 1}))
	must(t, scale(t, m, s, x, x, 65, 2, 0))
	refused(t, s.Synchronize(), fault.Internal, "cuda:0: ", "compute-sanitizer",
		"scale grid 1,1,1 block 256,1,1 shared 0", "cuBLAS 2×3×4, batch 1")
}

func TestAKernelTellsItsResources(t *testing.T) {
	c := open(t)
	f, err := module(t, c).Function("sum_squares")
	must(t, err)
	r, err := f.Resources()
	if err != nil || r.MaxThreads < 256 {
		t.Errorf("%+v, %v", r, err)
	}
	must(t, f.SetDynamicShared(64<<10))
	if err := f.SetDynamicShared(1 << 30); err == nil {
		t.Error("1 GiB of shared memory was granted")
	}
}

func TestAGraphRepeatsWhatWasCaptured(t *testing.T) {
	c := open(t)
	s, other, m := stream(t, c), stream(t, c), module(t, c)
	x := array(t, c, s, []float32{1})
	y := array(t, c, s, []float32{0})
	must(t, s.Synchronize())
	forked, err := c.NewEvent(false)
	must(t, err)
	g, err := s.Capture(func() error {
		must(t, scale(t, m, s, x, x, 1, 3, 0))
		must(t, forked.Record(s)) // work of another stream belongs to the graph too
		must(t, other.Wait(forked))
		must(t, scale(t, m, other, x, y, 1, 1, 1))
		must(t, forked.Record(other))
		return s.Wait(forked)
	})
	must(t, err)
	equal(t, numbers(t, s, x, 1), 1) // nothing ran
	must(t, g.Launch(s))
	must(t, g.Launch(s))
	equal(t, numbers(t, s, y, 1), 10)
	must(t, g.Destroy())
	must(t, forked.Destroy())
}

func TestACaptureThatFailsLeavesTheStreamUsable(t *testing.T) {
	c := open(t)
	s, m := stream(t, c), module(t, c)
	x := array(t, c, s, []float32{1})
	must(t, s.Synchronize())
	own := errors.New("own")
	if _, err := s.Capture(func() error { return own }); err != own {
		t.Errorf("got %v, want the function's own error", err)
	}
	_, err := s.Capture(func() error {
		_, err := c.Alloc(4)
		return err
	})
	if err == nil {
		t.Error("memory was allocated in a capture")
	}
	func() {
		defer func() { recover() }()
		s.Capture(func() error { panic("own") })
	}()
	must(t, scale(t, m, s, x, x, 1, 5, 0))
	equal(t, numbers(t, s, x, 1), 5)
}

func TestGoroutinesShareAContext(t *testing.T) {
	c := open(t)
	m := module(t, c)
	var wait sync.WaitGroup
	for i := range 8 {
		wait.Add(1)
		go func() {
			defer wait.Done()
			s, err := c.NewStream()
			if err != nil {
				t.Error(err)
				return
			}
			defer s.Destroy()
			p, err := c.Alloc(4)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Free(p)
			f, err := m.Function("scale")
			value := float32(i)
			for _, err := range []error{err, s.CopyIn(p, unsafe.Pointer(&value), 4),
				s.Launch(f, Dim{}, Dim{X: 256}, 0, []uint64{uint64(p), uint64(p), 1, 0x4000000000000000, 0, 0, 0}),
				s.CopyOut(unsafe.Pointer(&value), p, 4), s.Synchronize()} {
				if err != nil {
					t.Error(err)
				}
			}
			if value != 2*float32(i) {
				t.Errorf("%d doubled is %v", i, value)
			}
		}()
	}
	wait.Wait()
}
