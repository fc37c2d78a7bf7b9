package device

// Places is a set of arguments of a kernel, bit i for argument i.
type Places uint32

// At is the set of these places.
func At(places ...int) Places {
	var set Places
	for _, i := range places {
		set |= 1 << i
	}
	return set
}

// Has says whether place i is in the set.
func (p Places) Has(i int) bool { return p>>i&1 != 0 }

// Halved is Kernel with the Real arguments at In held as Half. It reads such an input as the number that it
// is, and rounds such an output when it writes it (RoundBF16), so that a product with BF16 gives the same
// bits from it as from the Real one.
type Halved struct {
	Kernel
	In Places
}

// Unhalved is the kernel within a Halved, any other kernel as it is.
func Unhalved(k Kernel) Kernel {
	if h, ok := k.(Halved); ok {
		return h.Kernel
	}
	return k
}

// Halver is a backend with kernels that read or write Half.
type Halver interface {
	// Halves are the arguments of a kernel that may be Half, each alone or with others: none for kernels
	// that know nothing of it.
	Halves(Kernel) Places
	// HalfView is n elements of Half in the memory of a Real buffer, in the place of its elements
	// [off, off+HalfRoom(n)). It panics out of range.
	HalfView(b Buffer, off, n int) Buffer
}

// HalfRoom is the elements of float32 in whose place n elements of Half lie.
func HalfRoom(n int) int { return (n + 1) / 2 }

func (s *signature) halved(k Halved) {
	if _, ok := k.Kernel.(Halved); ok || k.Kernel == nil {
		s.fail("%T has no kernel of its own", k)
		return
	}
	s.describe(k.Kernel)
	for i := range s.args {
		if !k.In.Has(i) {
			continue
		}
		s.require(s.args[i].DType == Real && !s.args[i].Absent, "argument %s cannot be half", s.args[i].Name)
		s.args[i].DType = Half
	}
	s.require(k.In>>len(s.args) == 0, "there are %d arguments", len(s.args))
}
