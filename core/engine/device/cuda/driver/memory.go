//go:build clipcuda

package driver

// #include "symbols.h"
import "C"

import (
	"errors"
	"fmt"
	"unsafe"

	"gorgonia.org/cu"

	"tandem/core/fault"
)

// Ptr holds an address in device memory; 0 is null.
type Ptr uintptr

// MemInfo returns the device's memory in bytes: free now, for all processes, and in total.
func (c *Context) MemInfo() (free, total int64, err error) {
	err = c.do("cuMemGetInfo", func() (err error) {
		free, total, err = cu.MemInfo()
		return err
	})
	return free, total, err
}

// Alloc returns bytes (at least 1) of device memory, aligned to 256 bytes, with anything in it. Where they do not
// fit, the error is Exhausted and says how much is free.
func (c *Context) Alloc(bytes int64) (Ptr, error) {
	if bytes <= 0 {
		return 0, fault.New(fault.Invalid, "cannot allocate %d bytes", bytes).WithOp(c.op("cuMemAlloc"))
	}
	var p cu.DevicePtr
	err := c.do("cuMemAlloc", func() (err error) {
		p, err = cu.MemAlloc(bytes)
		return err
	})
	var e *fault.Error
	if errors.As(err, &e) && e.Kind == fault.Exhausted {
		if free, total, err := c.MemInfo(); err == nil {
			e.Msg = fmt.Sprintf("%s do not fit: %s of %s are free", mib(bytes), mib(free), mib(total))
		}
	}
	return Ptr(p), err
}

// Free gives memory of Alloc back, after the work that uses it: it waits for the device.
func (c *Context) Free(p Ptr) error {
	return c.do("cuMemFree", func() error { return cu.MemFree(cu.DevicePtr(p)) })
}

// HostAlloc returns bytes (at least 1) of pinned host memory: copies from and to it do not wait, and are
// the fastest. Go does not free it: call HostFree when no copy uses it any more.
func (c *Context) HostAlloc(bytes int) ([]byte, error) {
	if bytes <= 0 {
		return nil, fault.New(fault.Invalid, "cannot allocate %d bytes", bytes).WithOp(c.op("cuMemHostAlloc"))
	}
	var p unsafe.Pointer
	err := c.do("cuMemHostAlloc", func() error { return result(C.tandem_host_alloc(&p, C.size_t(bytes))) })
	if err != nil {
		return nil, err
	}
	return unsafe.Slice((*byte)(p), bytes), nil
}

// HostFree gives memory of HostAlloc back.
func (c *Context) HostFree(memory []byte) error {
	return c.do("cuMemFreeHost", func() error { return cu.MemFreeHost(unsafe.Pointer(unsafe.SliceData(memory))) })
}

// Register pins memory outside Go's heap, such as a mapped file, so that copies from and to it are as fast as with
// HostAlloc. The memory may start and end anywhere; the driver pins whole pages.
func (c *Context) Register(memory []byte) error {
	return c.do("cuMemHostRegister", func() error {
		return result(C.tandem_host_register(address(memory), C.size_t(len(memory))))
	})
}

// Unregister ends Register; call it before the memory goes.
func (c *Context) Unregister(memory []byte) error {
	return c.do("cuMemHostUnregister", func() error { return result(C.tandem_host_unregister(address(memory))) })
}

func address(memory []byte) C.uintptr_t {
	return C.uintptr_t(uintptr(unsafe.Pointer(unsafe.SliceData(memory))))
}

func mib(bytes int64) string {
	return fmt.Sprintf("%.1f MiB", float64(bytes)/(1<<20))
}
