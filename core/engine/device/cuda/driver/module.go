//go:build clipcuda

package driver

// #include "symbols.h"
import "C"

import (
	"bytes"
	"errors"
	"runtime"

	"gorgonia.org/cu"

	"tandem/core/fault"
)

// Module holds compiled code on a device.
type Module struct {
	c    *Context
	m    cu.Module
	name string
}

// Function holds a kernel.
type Function struct {
	c    *Context
	f    cu.Function
	name string
}

// Load compiles PTX text for the device. name is what errors call it; they come with what the driver's
// compiler says.
func (c *Context) Load(name, ptx string) (*Module, error) {
	m := &Module{c: c, name: name}
	said := make([]byte, 8<<10)
	err := c.do("cuModuleLoadDataEx of "+name, func() (err error) {
		m.m, err = cu.LoadDataEx(ptx, &cu.JITErrorLogBuffer{Buffer: said})
		return err
	})
	runtime.KeepAlive(said) // cu hands its address to the driver as a number
	if e := (*fault.Error)(nil); errors.As(err, &e) {
		text, _, _ := bytes.Cut(said, []byte{0})
		return nil, e.WithDetail(string(text))
	}
	return m, err
}

// Unload removes the code.
func (m *Module) Unload() error { return m.c.do("cuModuleUnload of "+m.name, m.m.Unload) }

// Function finds a kernel by its extern "C" name.
func (m *Module) Function(name string) (Function, error) {
	f := Function{c: m.c, name: name}
	err := m.c.do("cuModuleGetFunction "+name+" of "+m.name, func() (err error) {
		f.f, err = m.m.Function(name)
		return err
	})
	return f, err
}

// Name returns the kernel's name.
func (f Function) Name() string { return f.name }

// SetDynamicShared lets launches ask for so many bytes of dynamic shared memory; without it 48 KiB less
// what the kernel declares is the limit, with it Properties.SharedPerBlock less that.
func (f Function) SetDynamicShared(bytes int) error {
	const maxDynamicSharedSizeBytes = 8 // CU_FUNC_ATTRIBUTE_
	return f.c.do("cuFuncSetAttribute of "+f.name, func() error {
		return result(C.tandem_function_attribute(handleOf(f.f), maxDynamicSharedSizeBytes, C.int(bytes)))
	})
}

// Resources tells what a kernel takes on this device.
type Resources struct {
	MaxThreads int // per block
	Registers  int // per thread
	Shared     int // bytes of declared shared memory per block
	Local      int // bytes of local memory per thread: spills, arrays
}

// Resources asks the driver, whose compiler made the code that runs.
func (f Function) Resources() (r Resources, err error) {
	for _, a := range []struct {
		to   *int
		what cu.FunctionAttribute
	}{
		{&r.MaxThreads, cu.FnMaxThreadsPerBlock}, {&r.Registers, cu.NumRegs},
		{&r.Shared, cu.SharedSizeBytes}, {&r.Local, cu.LocalSizeBytes},
	} {
		err := f.c.do("cuFuncGetAttribute of "+f.name, func() (err error) {
			*a.to, err = f.f.Attribute(a.what)
			return err
		})
		if err != nil {
			return r, err
		}
	}
	return r, nil
}
