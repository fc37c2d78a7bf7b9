package device

// Kernel describes one operation: a struct of its sizes and options. Equal values mean the same work, so that a
// kernel can be the key of a map.
//
// Each kernel documents the arguments of its Exec as "inputs → outputs". Outputs are overwritten unless "+=" is
// said. Its method describe tells all else that callers and backends must know (Description). A backend chooses
// its implementation by a type switch; nothing else should need one.
type Kernel interface {
	// describe checks the kernel's fields and lists its arguments in order.
	describe(*describer)
}

// Arg describes one argument of a kernel's Exec.
type Arg struct {
	Name   string // as in the kernel's documentation
	DType  DType
	Len    int
	Out    bool // written; also read where the documentation says "+=" or "in place"
	Absent bool // this kernel takes nil here
	// Range tells for indices and lengths (I32) how much they choose from: the rows of a table, the classes, or
	// the tokens of the longest sequence.
	Range int
}

// Description holds what a kernel says of itself.
type Description struct {
	Args []Arg // in the order of Exec.Run
	// FLOPs counts the floating-point operations of matrix products, convolutions and attention; a multiply-add
	// counts two. Other kernels are bound by memory and count none, as is customary.
	FLOPs float64
	// Rounded holds the inputs that the kernel rounds to bfloat16 (RoundBF16) before it uses them.
	Rounded Places
	// Half holds the arguments that may be Half (see Halved): activations and gradients, not parameters, statistics
	// or sums. A Halver may support fewer of them.
	Half Places
	// Operands holds those of Half that only products in bfloat16 need: the rounded ones, and outputs that such a
	// product usually reads next.
	Operands Places
	// Weights holds the parameter of which a backend may keep a packed copy until ParamsChanged.
	Weights Places
	// InPlace names the input whose memory the first output may take; -1 for none.
	InPlace int
}

// Describe returns what a kernel says of itself. An impossible kernel (a size under one, a period that does not
// divide, a window larger than its input) is fault.Invalid; the description is empty then.
func Describe(k Kernel) (Description, error) {
	d := &describer{kernel: k}
	d.InPlace = -1
	if k == nil {
		d.fail("%T is not a known kernel", k)
	} else {
		k.describe(d)
		d.Half |= d.Operands
	}
	if d.err != nil {
		return Description{InPlace: -1}, d.err
	}
	return d.Description, nil
}

// Signature lists a kernel's arguments in order. Errors are those of Describe.
func Signature(k Kernel) ([]Arg, error) {
	d, err := Describe(k)
	return d.Args, err
}

// FLOPs returns the floating-point operations of a kernel (Description.FLOPs), 0 for an impossible one or nil.
func FLOPs(k Kernel) float64 {
	d, _ := Describe(k)
	return d.FLOPs
}

// Itemized marks kernels whose items (rows, samples, elements) do not depend on each other: the first items alone
// give the bits that they give among all. This makes a frozen tower's features those of the sample, whatever batch
// they were computed in.
type Itemized interface {
	Kernel
	// Items returns how many items there are; 0 when these fields make them depend on each other.
	Items() int
	// WithItems returns the kernel for another number of items.
	WithItems(n int) Kernel
}
