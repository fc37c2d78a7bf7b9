//go:build clipcuda

package cuda

import (
	"tandem/core/device/cuda/driver"
	"tandem/core/fault"
)

// halves are operands in bfloat16. A copy that one product made serves the next, as long as its source
// was not written: the two products of a backward pass share the gradient.
type halves [2]half

type half struct {
	block
	from driver.Ptr // the source; 0: nothing
	n    int        // elements of it
	turn int64
}

// written forgets copies of memory that is written.
func (h *halves) written(buf *buffer) {
	at, size := buf.at, driver.Ptr(buf.bytes())
	for i := range h {
		if h[i].from != 0 && h[i].from < at+size && at < h[i].from+driver.Ptr(4*h[i].n) {
			h[i].from = 0
		}
	}
}

func (h *halves) forget() { h[0].from, h[1].from = 0, 0 }

// rounded gives the address of an operand in bfloat16, with a copy made before where there is one; not is the
// address of the other operand, which is not to be overwritten.
func (b *Backend) rounded(from driver.Ptr, n int, not driver.Ptr) (driver.Ptr, error) {
	turn := max(b.halves[0].turn, b.halves[1].turn) + 1
	free := &b.halves[0]
	for i := range b.halves {
		h := &b.halves[i]
		if h.from == from && n <= h.n {
			h.turn = turn
			return h.at, nil
		}
		if free.at == not || h.at != not && h.turn < free.turn {
			free = h
		}
	}
	free.from, free.n, free.turn = 0, n, turn
	round, err := b.step(toBF16(from, free.at, n))
	if err == nil {
		err = b.start(&round, &call{b: b})
	}
	if err != nil {
		return 0, err
	}
	free.from = from
	return free.at, nil
}

// reserveHalves makes room for operands of up to n elements.
func (b *Backend) reserveHalves(n int) error {
	if n == 0 {
		return nil
	}
	for i := range b.halves {
		if bytes := 2 * int64(n); bytes > b.halves[i].bytes {
			b.halves[i].from = 0
			if err := b.grow(&b.halves[i].block, bytes, "operands in bfloat16"); err != nil {
				return err
			}
		}
	}
	return nil
}

// ParamsChanged forgets copies of parameters.
func (b *Backend) ParamsChanged() { b.halves.forget() }

// needsBF16 is the error of a GPU without products of bfloat16.
func (b *Backend) needsBF16() error {
	p := b.ctx.Properties()
	if p.Capability >= 80 {
		return nil
	}
	return fault.New(fault.Unavailable, "%s has compute capability %d.%d, bfloat16 needs 8.0 (Ampere) or newer",
		p.Name, p.Capability/10, p.Capability%10).WithHint("set train.precision to f32")
}
