//go:build clipcuda

package cuda

import (
	"tandem/core/engine/device"
	"tandem/core/engine/device/cuda/driver"
)

// code holds what this backend makes of a device.Kernel: launches in order, on one stream, and the scratch they share.
// It knows shapes only; addresses and scalars are filled in when it runs.
type code struct {
	launches  []launch
	scratch   int                               // bytes of device memory, shared by all Execs of a backend: nothing survives a Run
	scratchOf func(half []bool, lens []int) int // bytes of it that arguments in bfloat16 need; nil: no others
	halves    []arg                             // arguments that calls want in bfloat16 (call.inBF16), two at most
	rows      int                               // of the first of halves, when it is a gradient (call.gradientInBF16)
	cols      int
	release   func() // frees what the calls keep; nil: nothing
}

// free ends the code.
func (c *code) free() {
	if c.release != nil {
		c.release()
		c.release = nil
	}
}

// mayBeHalf returns the arguments that the code takes in bfloat16.
func (c *code) mayBeHalf() (places device.Places) {
	for _, i := range c.halves {
		places |= device.At(int(i))
	}
	for _, l := range c.launches {
		for _, p := range l.params {
			if i, ok := p.(isHalf); ok {
				places |= device.At(int(i))
			}
		}
	}
	return places
}

// launch describes one kernel of core/engine/device/cuda/kernels with its grid, or a call of a library. All parameters
// are eight bytes wide.
type launch struct {
	entry       string // extern "C" name in a .cu file
	grid, block dim
	shared      int // bytes of dynamic shared memory
	params      []any
	call        func(*call) error // instead of all the above: enqueues work on the backend's stream
}

// dim gives the size of a grid or a block; zeros count as 1.
type dim struct{ x, y, z int }

// Params may hold these, beside int (long long), float64 (double), driver.Ptr and nil (null).
type (
	// arg stands for the address of argument i of the Exec; null when the kernel's signature says it is absent.
	arg int
	// temp stands for the address of byte i of the scratch; use multiples of 256.
	temp int
	// isHalf stands for 1 when argument i of the Exec holds bfloat16 (two bytes an element), else 0: a kernel with
	// this parameter can do either.
	isHalf int
	// rounded stands for the address of argument i in bfloat16: one of code.halves.
	rounded int
	// scalar stands for run-time number i (double).
	scalar struct {
		i         int
		otherwise float64 // when the caller left it out
	}
)

// ceil returns n/m rounded up.
func ceil(n, m int) int { return (n + m - 1) / m }

// bit returns 1 for true: a flag of a kernel.
func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

// codeOf returns the code of a kernel; false for products and convolutions, which need libraries, and for
// kernels that are missing. Each of the functions below has the kernels of one or two .cu files.
func codeOf(k device.Kernel) (code, bool) {
	for _, of := range []func(device.Kernel) (code, bool){
		elementwiseCode, rowsCode, tokensCode, optimCode, attentionCode, attentionBF16Code, mapsCode,
	} {
		if c, ok := of(k); ok {
			return c, true
		}
	}
	return code{}, false
}

// call holds what code knows while it runs.
type call struct {
	b       *Backend
	addr    []driver.Ptr // of the arguments
	lens    []int        // of the arguments, in elements
	half    []bool       // whether the arguments are bfloat16
	scalars []float64
	other   driver.Ptr // the last copy that inBF16 used
}

// at returns the address of an argument, 0 when it is absent.
func (c *call) at(i arg) driver.Ptr { return c.addr[i] }

// temp returns the address of byte i of the scratch.
func (c *call) temp(i temp) driver.Ptr { return c.b.scratch.at + driver.Ptr(i) }

// scalar returns a run-time number.
func (c *call) scalar(s scalar) float64 {
	if s.i < len(c.scalars) {
		return c.scalars[s.i]
	}
	return s.otherwise
}

// inBF16 returns the address of an argument of code.halves in bfloat16: its own, or that of a copy, made now or
// for a kernel before. The address is valid until the second call from now.
func (c *call) inBF16(i arg) (driver.Ptr, error) { return c.gradientInBF16(i, 0, 0) }

// gradientInBF16 does what inBF16 does, for an argument [rows, cols] whose rows a SumRows may sum next: the copy
// comes with the sums.
func (c *call) gradientInBF16(i arg, rows, cols int) (driver.Ptr, error) {
	if c.half[i] {
		return c.addr[i], nil
	}
	at, err := c.b.roundOperand(operand{c.addr[i], c.lens[i], rows, cols}, c.other)
	c.other = at
	return at, err
}

// run enqueues one kernel more.
func (c *call) run(l launch) error {
	s, err := c.b.step(l)
	if err != nil {
		return err
	}
	return c.b.start(&s, c)
}
