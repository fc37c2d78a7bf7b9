//go:build clipcuda

package cuda

import (
	"fmt"

	"tandem/core/engine/device"
	"tandem/core/engine/device/cuda/driver"
	"tandem/core/fault"
)

// halves holds copies of operands in bfloat16. A copy that one product made serves the next, as long as its source
// is not written: the two products of a backward pass share the gradient.
type halves [2]half

type half struct {
	block
	operand // what was copied; from 0: nothing
	turn    int64
}

// operand describes n numbers that a product takes. A gradient also has a shape [rows, cols]: its rows are summed for
// the bias while they are read (SumRows), which gives the same bits as summing them alone.
type operand struct {
	from       driver.Ptr
	n          int
	rows, cols int // 0: not a gradient
}

// layout returns how many bytes a copy takes, and from which byte on it has the sums of the lanes that read it.
func (o operand) layout() (bytes, sums int) {
	sums = ceil(2*o.n, 256) * 256
	if o.rows > 0 {
		_, lanes := rowSums(o.rows, o.cols, nil, nil, nil, 0)
		return sums + 4*lanes*o.cols, sums
	}
	return sums, sums
}

// sums returns where the sums of the lanes of SumRows lie for memory that was copied, 0 when it was not.
func (h *halves) sums(from driver.Ptr, rows, cols int) driver.Ptr {
	for i := range h {
		if c := &h[i]; c.from == from && c.rows == rows && c.cols == cols {
			_, sums := c.layout()
			return c.at + driver.Ptr(sums)
		}
	}
	return 0
}

// forgetWritten forgets copies of memory that is written.
func (h *halves) forgetWritten(buf *buffer) {
	at, size := buf.at, driver.Ptr(buf.bytes())
	for i := range h {
		if h[i].from != 0 && h[i].from < at+size && at < h[i].from+driver.Ptr(4*h[i].n) {
			h[i].operand = operand{}
		}
	}
}

func (h *halves) forget() { h[0].operand, h[1].operand = operand{}, operand{} }

// roundOperand returns the address of an operand in bfloat16: that of a copy made before where there is one, else of a new
// one. not is the address of the other operand, which must not be overwritten.
func (b *Backend) roundOperand(o operand, not driver.Ptr) (driver.Ptr, error) {
	turn := max(b.halves[0].turn, b.halves[1].turn) + 1
	free := &b.halves[0]
	for i := range b.halves {
		h := &b.halves[i]
		if h.from == o.from && o.n <= h.n {
			h.turn = turn
			return h.at, nil
		}
		if free.at == not || h.at != not && h.turn < free.turn {
			free = h
		}
	}
	free.operand, free.turn = operand{}, turn
	round := toBF16(o.from, free.at, o.n)
	if o.rows > 0 {
		_, sums := o.layout()
		if both, lanes := rowSums(o.rows, o.cols, o.from, free.at, free.at+driver.Ptr(sums), 0); lanes > 0 {
			round = both
		} else {
			o.rows = 0
		}
	}
	if err := (&call{b: b}).run(round); err != nil {
		return 0, err
	}
	free.operand = o
	return free.at, nil
}

// reserve makes room for copies of operands like this one.
func (b *Backend) reserve(o operand) error {
	bytes, _ := o.layout()
	for i := range b.halves {
		if int64(bytes) > b.halves[i].bytes {
			b.halves[i].operand = operand{}
			if err := b.grow(&b.halves[i].block, int64(bytes), "operands in bfloat16"); err != nil {
				return err
			}
		}
	}
	return nil
}

// Halves returns the arguments that a kernel takes in bfloat16: operands of products in bfloat16, and what launches have
// a flag for (see isHalf).
func (b *Backend) Halves(k device.Kernel) device.Places {
	if places, ok := b.mayBeHalf[k]; ok {
		return places
	}
	places := device.Places(0)
	if c, err := b.code(k); err == nil {
		places = c.mayBeHalf()
		c.free()
	}
	b.mayBeHalf[k] = places
	return places
}

var _ device.Autocaster = (*Backend)(nil)

// Autocasts implements device.Autocaster: memory is slow beside products in bfloat16 on every GPU that has them.
func (b *Backend) Autocasts() bool { return true }

// Fuses implements device.Fuser.
func (b *Backend) Fuses(k device.Kernel) bool {
	switch k := k.(type) {
	case device.LayerNormBack:
		return true
	case device.MatMul:
		return b.lt != nil && k.BF16 && k.RowSums && !k.Bias && !k.Residual && !k.Gate && !k.Slope && k.Act == device.Identity
	case device.ConvBackData: // a product, as multiplyPixels makes it
		return k.BF16 && k.Single()
	}
	return false
}

// HalfView views n elements of bfloat16 from element off of a buffer of float32.
func (b *Backend) HalfView(x device.Buffer, off, n int) device.Buffer {
	buf := asBuffer(x)
	if end := off + device.HalfRoom(n); buf.dtype != device.Real || off < 0 || n < 0 || end > buf.n {
		panic(fmt.Sprintf("device/cuda: view [%d, %d) of half is outside a buffer of %v[%d]", off, end, buf.dtype, buf.n))
	}
	return &buffer{at: buf.at + driver.Ptr(4*off), n: n, dtype: device.Half, root: buf.root}
}

// ParamsChanged forgets copies of parameters.
func (b *Backend) ParamsChanged() { b.halves.forget() }

// checkBF16 returns an error on a GPU without products of bfloat16.
func (b *Backend) checkBF16() error {
	p := b.ctx.Properties()
	if p.Capability >= 80 {
		return nil
	}
	return fault.New(fault.Unavailable, "%s has compute capability %d.%d, bfloat16 needs 8.0 (Ampere) or newer",
		p.Name, p.Capability/10, p.Capability%10).WithHint("set train.precision to f32")
}
