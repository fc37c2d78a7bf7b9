//go:build clipcuda

package cuda

import (
	"fmt"
	"log"
	"os"
	"sync"

	"tandem/core/engine/device"
	"tandem/core/engine/device/cuda/driver"
	"tandem/core/engine/device/cuda/kernels"
	"tandem/core/fault"
)

// Options changes what a backend does.
type Options struct {
	TF32        bool  // products and convolutions of float32 round their operands to TF32
	MemoryLimit int64 // bytes that the backend may take of the GPU; 0: all
}

// Backend computes on one GPU. Its methods are for one goroutine at a time, on any thread.
//
// Run, Write, Copy and Zero enqueue work on one stream and return; Read waits. What goes wrong shows at a
// later call, at the latest when something waits, and stays: see Err.
type Backend struct {
	options Options
	ctx     *driver.Context
	stream  *driver.Stream // all work but Prefetch
	blas    *driver.BLAS
	lt      *driver.Lt   // nil: there is none
	dnn     *driver.DNN  // see cuDNN
	noDNN   bool         // there is no cuDNN
	ranks   *driver.Comm // nil: this one alone

	entries   map[string]entry                // kernels of the PTX for this GPU
	loaded    map[string]*driver.Module       // by name of the .cu file
	found     map[string]driver.Function      // by entry
	mayBeHalf map[device.Kernel]device.Places // see Halves
	allowed   map[string]int                  // bytes of dynamic shared memory, by entry, where they were asked for

	live       map[*buffer]struct{}
	execs      map[*exec]struct{}
	recordings map[*recording]struct{}
	used       int64  // bytes of device memory
	scratch    block  // shared by all Execs; grown by Prepare
	workspace  block  // of cuBLAS
	halves     halves // operands in bfloat16
	generation int    // of the addresses of scratch and halves

	staging  staging
	shared   [][]byte // host memory that the driver knows
	prefetch prefetch

	err       error // the first error of the work
	recording bool  // the stream is capturing
	refused   error // the first error of the recording
}

var (
	_ device.Backend       = (*Backend)(nil)
	_ device.Asynchronous  = (*Backend)(nil)
	_ device.Recorder      = (*Backend)(nil)
	_ device.Fuser         = (*Backend)(nil)
	_ device.Halver        = (*Backend)(nil)
	_ device.HostSharer    = (*Backend)(nil)
	_ device.Prefetcher    = (*Backend)(nil)
	_ device.MemoryMeter   = (*Backend)(nil)
	_ device.MemoryCounter = (*Backend)(nil)
	_ device.Packer        = (*Backend)(nil)
)

// entry tells where a kernel lies.
type entry struct {
	kernels.Entry
	module *kernels.Module
}

// Open makes a backend on GPU n, with a primary context that the process shares. fault.Unavailable says what
// is missing: the driver, the device, cuBLAS; fault.Exhausted when the GPU has no memory left for a start.
func Open(n int, options Options) (device.Backend, error) {
	ctx, err := driver.Open(n)
	if err != nil {
		return nil, err
	}
	b := &Backend{options: options, ctx: ctx,
		entries: map[string]entry{}, loaded: map[string]*driver.Module{}, found: map[string]driver.Function{}, allowed: map[string]int{}, mayBeHalf: map[device.Kernel]device.Places{},
		live: map[*buffer]struct{}{}, execs: map[*exec]struct{}{}, recordings: map[*recording]struct{}{}}
	if err := b.open(); err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

func (b *Backend) open() (err error) {
	for _, m := range kernels.For(b.ctx.Properties().Capability) {
		for _, e := range m.Entries {
			b.entries[e.Name] = entry{e, &m}
		}
	}
	if b.stream, err = b.ctx.NewStream(); err != nil {
		return err
	}
	if b.blas, err = b.ctx.OpenBLAS(b.stream); err != nil {
		return err
	}
	// A workspace of ours keeps products to memory that is there: recording them must allocate none.
	if err := b.grow(&b.workspace, workspaceBytes(b.ctx.Properties().Capability), "cuBLAS's workspace"); err != nil {
		return err
	}
	if err := b.blas.SetWorkspace(b.workspace.at, b.workspace.bytes); err != nil {
		return err
	}
	b.lt, err = b.ctx.OpenLt(b.stream, b.workspace.at, b.workspace.bytes)
	if fault.KindOf(err) != fault.Unavailable {
		return err
	}
	if os.Getenv("TANDEM_CUBLASLT") != "off" {
		withoutLt.Do(func() { log.Printf("products are slower than they could be: %s", fault.Format(err)) })
	}
	return nil
}

// withoutLt warns once in a process.
var withoutLt sync.Once

// cuDNN returns the library for convolutions, and opens it for the first one: it is large, and towers without
// convolutions do not need it. It is nil where there is none; kernels of our own convolve then.
func (b *Backend) cuDNN() (*driver.DNN, error) {
	if b.dnn != nil || b.noDNN {
		return b.dnn, nil
	}
	dnn, err := b.ctx.OpenDNN(b.stream)
	if b.noDNN = fault.KindOf(err) == fault.Unavailable; b.noDNN {
		return nil, nil
	}
	b.dnn = dnn
	return dnn, err
}

// workspaceBytes returns what NVIDIA recommends: 32 MiB from Hopper on, 4 MiB before.
func workspaceBytes(capability int) int64 {
	if capability >= 90 {
		return 32 << 20
	}
	return 4 << 20
}

// Name returns "cuda:0 NVIDIA H100 (sm_90, cuBLAS 12.9, cuDNN 9.1)", with cuDNN once it convolves, and with "TF32"
// when that was asked for.
func (b *Backend) Name() string {
	p := b.ctx.Properties()
	blas, _ := b.blas.Version()
	text := fmt.Sprintf("%s %s (sm_%d, cuBLAS %s", p, p.Name, p.Capability, blas)
	if b.lt == nil {
		text += " without cublasLt"
	}
	if b.dnn != nil {
		dnn, _ := b.dnn.Version()
		text += ", cuDNN " + dnn
	}
	if b.ranks != nil {
		text += ", NCCL " + driver.NCCLVersion()
	}
	if b.options.TF32 {
		text += ", TF32"
	}
	return text + ")"
}

// Close waits for the work and frees everything; buffers, Execs and recordings must not be used afterwards.
// After an error of the work, which Err told, it has none of its own.
func (b *Backend) Close() error {
	if b.ctx == nil {
		return nil
	}
	b.sync()
	for x := range b.execs {
		x.Release()
	}
	for r := range b.recordings {
		r.Release()
	}
	var first error
	for buf := range b.live {
		first = firstOf(first, b.release(buf))
	}
	for _, s := range []*block{&b.scratch, &b.halves[0].block, &b.halves[1].block} {
		first = firstOf(first, b.drop(s))
	}
	first = firstOf(first, b.prefetch.close())
	first = firstOf(first, b.staging.close(b.ctx))
	first = firstOf(first, b.unshare())
	for _, m := range b.loaded {
		first = firstOf(first, m.Unload())
	}
	if b.ranks != nil && b.err == nil { // after an error others may never come
		first = firstOf(first, b.ranks.Destroy())
	}
	if b.dnn != nil {
		first = firstOf(first, b.dnn.Destroy())
	}
	if b.lt != nil {
		first = firstOf(first, b.lt.Destroy())
	}
	if b.blas != nil {
		first = firstOf(first, b.blas.Destroy())
	}
	first = firstOf(first, b.drop(&b.workspace))
	if b.stream != nil {
		first = firstOf(first, b.stream.Destroy())
	}
	first = firstOf(first, b.ctx.Close())
	b.ctx = nil
	if b.err != nil {
		return nil
	}
	return first
}

// function returns a kernel of the PTX for this GPU, loaded when it is first asked for.
func (b *Backend) function(name string) (driver.Function, error) {
	if f, ok := b.found[name]; ok {
		return f, nil
	}
	e, ok := b.entries[name]
	if !ok {
		return driver.Function{}, fault.New(fault.Unavailable, "no kernel %s for compute capability %d", name, b.ctx.Properties().Capability)
	}
	m := b.loaded[e.module.Name]
	if m == nil {
		var err error
		if m, err = b.ctx.Load(e.module.Name, e.module.PTX); err != nil {
			return driver.Function{}, err
		}
		b.loaded[e.module.Name] = m
	}
	f, err := m.Function(name)
	if err != nil {
		return f, err
	}
	b.found[name] = f
	return f, nil
}
