//go:build clipcuda

package driver

// #include "symbols.h"
import "C"

import (
	"fmt"
	"runtime"
	"unsafe"

	"gorgonia.org/cu"

	"tandem/core/fault"
)

// Context holds the primary context of a device: the one that cuBLAS and cuDNN use too.
type Context struct {
	device     cu.Device
	handle     C.uintptr_t
	properties Properties
}

// Open makes the context of device n. It is Unavailable when there is no driver, no such device, or the
// device cannot run the kernels, with the reason and the remedy.
func Open(n int) (*Context, error) {
	count, err := Count()
	if err != nil {
		return nil, err
	}
	if n < 0 || n >= count {
		return nil, fault.New(fault.Unavailable, "there is no such GPU, only %s", upTo(count)).
			WithOp(deviceName(n)).WithHint("runner devices lists the GPUs that there are")
	}
	p, err := propertiesOf(n)
	if err != nil {
		return nil, err
	}
	if why := p.whyUnfit(); why != nil {
		return nil, why
	}
	c := &Context{device: cu.Device(p.handle), properties: p}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ctx, err := c.device.RetainPrimaryCtx()
	if err != nil {
		return nil, callError(c.op("cuDevicePrimaryCtxRetain"), err)
	}
	c.handle = handleOf(ctx)
	if err := c.enter(); err != nil {
		c.device.ReleasePrimaryCtx()
		return nil, err
	}
	return c, nil
}

// Close gives the context back. Everything made of it must be destroyed before.
func (c *Context) Close() error {
	c.handle = 0
	return callError(c.op("cuDevicePrimaryCtxRelease"), c.device.ReleasePrimaryCtx())
}

// Properties describes the device.
func (c *Context) Properties() Properties { return c.properties }

// Synchronize waits for all work of the context.
func (c *Context) Synchronize() error { return c.do("cuCtxSynchronize", cu.Synchronize) }

// do runs f, which is one call, with the context current.
func (c *Context) do(call string, f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := c.enter(); err != nil {
		return err
	}
	return callError(c.op(call), f())
}

// enter makes the context current on a locked thread.
func (c *Context) enter() error {
	if c.handle == 0 {
		return fault.New(fault.Internal, "the context is closed").WithOp(c.properties.String())
	}
	return callError(c.op("cuCtxSetCurrent"), result(C.tandem_enter(c.handle)))
}

func (c *Context) op(call string) string { return c.properties.String() + ": " + call }

func deviceName(n int) string { return fmt.Sprintf("cuda:%d", n) }

func upTo(count int) string {
	if count == 1 {
		return deviceName(0)
	}
	return fmt.Sprintf("%s to %s", deviceName(0), deviceName(count-1))
}

// handleOf returns the handle in one of cu's structs of one pointer, most of which cu does not export.
func handleOf[T cu.CUContext | cu.Stream | cu.Function](h T) C.uintptr_t {
	return *(*C.uintptr_t)(unsafe.Pointer(&h))
}
