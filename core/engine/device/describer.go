package device

import (
	"fmt"
	"math"
	"strings"

	"tandem/core/fault"
)

// describer collects what a kernel says of itself. It keeps the first error.
type describer struct {
	Description
	kernel Kernel
	err    error
}

func (d *describer) fail(format string, values ...any) {
	if d.err == nil {
		err := fault.New(fault.Invalid, format, values...)
		err.Op = "kernel"
		d.err = err
	}
}

func (d *describer) require(ok bool, format string, values ...any) {
	if !ok {
		d.fail("%s: "+format, append([]any{kernelText(d.kernel)}, values...)...)
	}
}

// sizes demands sizes of at least one, whose product fits the indices that backends use.
func (d *describer) sizes(sizes ...int) bool {
	product := 1
	for _, n := range sizes {
		if n < 1 {
			d.require(false, "every size must be at least 1")
			return false
		}
		if product > math.MaxInt/8/n {
			d.require(false, "too large")
			return false
		}
		product *= n
	}
	return true
}

// add appends an argument and returns its place.
func (d *describer) add(a Arg) int {
	d.Args = append(d.Args, a)
	return len(d.Args) - 1
}

func (d *describer) in(name string, n int) int { return d.add(Arg{Name: name, Len: n}) }

func (d *describer) out(name string, n int) int { return d.add(Arg{Name: name, Len: n, Out: true}) }

// optional adds an input of reals that is nil unless present.
func (d *describer) optional(name string, n int, present bool) int {
	return d.add(Arg{Name: name, Len: n, Absent: !present})
}

// indices adds an input of n integers that choose from so many things.
func (d *describer) indices(name string, n, from int) int {
	return d.add(Arg{Name: name, Len: n, DType: I32, Range: from})
}

// unary describes a map of one input to one output.
func (d *describer) unary(n int) (x, out int) {
	d.sizes(n)
	return d.in("x", n), d.out("out", n)
}

// feeds adds an output that products in bfloat16 usually read next.
func (d *describer) feeds(name string, n int) int {
	i := d.out(name, n)
	d.Operands |= At(i)
	return i
}

// gradient describes the gradient of a map of one input.
func (d *describer) gradient(n int) (x, dy, dx int) {
	d.sizes(n)
	return d.in("x", n), d.in("dy", n), d.out("dx", n)
}

// rounds says that the kernel rounds these inputs to bfloat16, so that they may as well be Half.
func (d *describer) rounds(places ...int) {
	d.Rounded |= At(places...)
	d.Operands |= At(places...)
}

// halves says which arguments may be Half.
func (d *describer) halves(places ...int) { d.Half |= At(places...) }

// allHalves says that all arguments so far that are Real and present may be Half.
func (d *describer) allHalves() {
	for i, a := range d.Args {
		if a.DType == Real && !a.Absent {
			d.Half |= At(i)
		}
	}
}

// kernelText writes a kernel as Go would, without the package: "MatMul{Batch:1 M:2 …}".
func kernelText(k Kernel) string {
	text := fmt.Sprintf("%T%+v", k, k)
	return strings.TrimPrefix(text, "device.")
}
