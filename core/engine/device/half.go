package device

// Places holds a set of arguments of a kernel: bit i stands for argument i.
type Places uint32

// At returns the set of these places.
func At(places ...int) Places {
	var set Places
	for _, i := range places {
		set |= 1 << i
	}
	return set
}

// Has reports whether place i is in the set.
func (p Places) Has(i int) bool { return p>>i&1 != 0 }

// Halved wraps a Kernel whose Real arguments at In are held as Half. The kernel reads such an input as the number
// that it is, and rounds such an output when it writes it (RoundBF16), so that a product with BF16 gives the same
// bits from it as from the Real one.
type Halved struct {
	Kernel
	In Places
}

// WithoutHalf returns the kernel within a Halved, any other kernel as it is.
func WithoutHalf(k Kernel) Kernel {
	if h, ok := k.(Halved); ok {
		return h.Kernel
	}
	return k
}

func (k Halved) describe(d *describer) {
	if _, ok := k.Kernel.(Halved); ok || k.Kernel == nil {
		d.fail("%T has no kernel of its own", k)
		return
	}
	k.Kernel.describe(d)
	for i := range d.Args {
		if !k.In.Has(i) {
			continue
		}
		d.require(d.Args[i].DType == Real && !d.Args[i].Absent, "argument %s cannot be half", d.Args[i].Name)
		d.Args[i].DType = Half
	}
	d.require(k.In>>len(d.Args) == 0, "there are %d arguments", len(d.Args))
}

// Halver is implemented by backends with kernels that read or write Half.
type Halver interface {
	// Halves returns the arguments of a kernel that may be Half here, each alone or with others: those of
	// Description.Half or fewer. A backend that is no Autocaster says no more than Description.Operands.
	Halves(Kernel) Places
	// HalfView views n elements of Half in the memory of a Real buffer, in the place of its elements
	// [off, off+HalfRoom(n)). It panics out of range.
	HalfView(b Buffer, off, n int) Buffer
}

// Autocaster is implemented by backends whose memory is slow beside their products: programs with products in bfloat16
// keep as Half what lies between their kernels, activations and gradients, as PyTorch's autocast does. That rounds
// more than products do by themselves.
type Autocaster interface {
	Halver
	// Autocasts reports whether programs shall be made so.
	Autocasts() bool
}

// Autocasts reports whether b is an Autocaster that wants it.
func Autocasts(b any) bool {
	a, ok := b.(Autocaster)
	return ok && a.Autocasts()
}

// HalfRoom returns the elements of float32 in whose place n elements of Half lie.
func HalfRoom(n int) int { return (n + 1) / 2 }
