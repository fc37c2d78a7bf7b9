package main

import (
	"encoding/json"
	"fmt"

	"tandem/core/engine/device"
	"tandem/core/engine/device/devicetest"
)

// unit is what does the arithmetic of a launch.
type unit int

const (
	none   unit = iota // bound by memory
	vector             // float32, our kernels
	matrix             // cuBLAS, in the precision of products
	ours               // our kernels in the precision of products, on tensor cores when it is bf16
)

// launch is one kernel that the GPU runs, with what it computes and moves at least.
type launch struct {
	class      string
	unit       unit
	full       bool // products in float32 whatever the precision: those of the loss
	flops      float64
	state      float64 // bytes of parameters, their gradients and the optimiser's state; ids, pixels
	activation float64 // bytes of all else in float32, which a bfloat16 design would halve
	rounding   float64 // bytes of rounding operands to bfloat16, which it would not need
	half       float64 // bytes of activations that are bfloat16 already
}

func (l launch) bytes() float64 { return l.state + l.activation + l.rounding + l.half }

// step is what one part of a model does in one training step.
type step struct {
	devicetest.Step
	launches []launch
}

// counter turns calls of core/engine/device into launches, as core/engine/device/cuda makes them.
type counter struct {
	precision precision
	state     map[int]bool // allocations of parameters, gradients and the optimiser
	halves    halves
	launches  []launch
}

// count counts a step.
func count(s devicetest.Step, p precision) (step, error) {
	c := counter{precision: p, state: map[int]bool{}}
	for _, call := range s.Calls {
		if call.Kind == "AdamW" {
			for _, a := range call.Args {
				c.state[a.Space] = true
			}
		}
	}
	for _, call := range s.Calls {
		if err := c.add(call); err != nil {
			return step{}, err
		}
		for _, a := range call.Args {
			if a.Written {
				c.halves.written(a)
			}
		}
		if call.Kind == "ParamsChanged" {
			c.halves = halves{}
		}
	}
	return step{s, c.launches}, nil
}

// move adds bytes of a place to the kind that it is of.
func (c *counter) move(l *launch, p devicetest.Place, times float64) {
	bytes := times * float64(p.N*p.Size)
	switch {
	case c.state[p.Space] || p.Size == 1:
		l.state += bytes
	case p.Size == 2:
		l.half += bytes
	default:
		l.activation += bytes
	}
}

// plain is one launch that reads and writes its arguments once, times that often.
func (c *counter) plain(class string, call devicetest.Call, times float64) launch {
	l := launch{class: class}
	for _, a := range call.Args {
		c.move(&l, a, times)
	}
	return l
}

func (c *counter) launch(l launch) { c.launches = append(c.launches, l) }

func decode[K any](call devicetest.Call) (k K, err error) {
	err = json.Unmarshal(call.Kernel, &k)
	return k, err
}

// add counts one call.
func (c *counter) add(call devicetest.Call) error {
	switch call.Kind {
	case "MatMul":
		k, err := decode[device.MatMul](call)
		if err != nil {
			return err
		}
		c.product(k, call)
	case "Attention", "AttentionBack", "AttentionAt", "AttentionAtBack":
		return c.attention(call)
	case "ConvForward", "ConvBackData", "ConvBackWeights":
		return c.convolution(call)
	case "LayerNorm":
		c.launch(c.plain("layer norm", call, 1))
	case "LayerNormBack":
		c.layerNormBack(call)
	case "L2Norm", "L2NormBack":
		c.launch(c.plain("other", call, 1))
	case "BatchStats", "BatchNorm", "BatchNormBack", "RunningStats":
		c.batchNorm(call)
	case "SumRows":
		k, err := decode[device.SumRows](call)
		if err != nil {
			return err
		}
		if c.halves.summed(call.Args[0], k.Rows, k.Cols) { // its lanes were summed when it was rounded
			c.launch(launch{class: "bias gradients"})
			return nil
		}
		c.launch(c.plain("bias gradients", call, 1))
	case "Binary", "Act", "ActBack", "Accumulate":
		c.launch(c.plain("residuals, activations", call, 1))
	case "AvgPool", "AvgPoolBack", "MaxPool", "MaxPoolBack":
		c.launch(c.plain("pooling", call, 1))
	case "AdamW", "SumSquares":
		c.launch(c.plain("optimizer", call, 1))
	case "CrossEntropy", "CrossEntropyBack", "ScaleBy", "ScaleByBack", "Transpose":
		c.launch(c.plain("other", call, 1))
	case "Normalize", "Patchify", "Gather", "GatherBack", "Concat", "Slice", "SliceBack", "MeanTokens", "MeanTokensBack",
		"Copy", "Zero", "SumCols", "BroadcastRows", "Scale":
		c.launch(c.plain("other", call, 1))
	case "Write", "Read", "ParamsChanged": // the wire; see transfers
	default:
		return fmt.Errorf("nothing is known of the work of a %s", call.Kind)
	}
	return nil
}

// product is the rounding of operands, cuBLAS, and a kernel for what follows.
func (c *counter) product(k device.MatMul, call devicetest.Call) {
	a, b, other, out := call.Args[0], call.Args[1], call.Args[3], call.Args[4]
	product := launch{class: "products", unit: matrix, full: call.Phase == "loss", flops: 2 * float64(k.Batch*k.M) * float64(k.N) * float64(k.K)}
	rows, cols := gradientShape(k)
	c.operand(&product, k.BF16, a, b, rows, cols)
	c.operand(&product, k.BF16, b, a, 0, 0)
	to := out
	if out.Size == 2 { // the product itself is float32, where the slope will be
		to = call.Args[5]
	}
	c.move(&product, to, 1)
	c.launch(product)
	if !k.Bias && k.Act == device.Identity && !k.Slope && !k.Residual && !k.Gate {
		return
	}
	after := launch{class: "after products"}
	c.move(&after, out, 1)
	c.move(&after, to, 1)
	c.move(&after, other, 1)
	if k.Slope {
		c.move(&after, call.Args[5], 1)
	}
	c.launch(after)
}

// gradientShape is of core/engine/device/cuda: the left operand of these products is a gradient, whose rows are summed for
// the bias while it is rounded.
func gradientShape(k device.MatMul) (rows, cols int) {
	switch {
	case k.Batch > 1:
	case k.TransA && !k.TransB:
		return k.K, k.M
	case !k.TransA && !k.TransB && k.Weights:
		return k.M, k.K
	}
	return 0, 0
}

// operand is read by a product; in bf16 it is rounded first, unless that was done for the product before.
func (c *counter) operand(l *launch, low bool, p, not devicetest.Place, rows, cols int) {
	if c.precision != bf16 || !low || p.Size == 2 {
		c.move(l, p, 1)
		return
	}
	if !c.halves.take(p, not, rows, cols) {
		round := launch{class: "rounding to bfloat16", rounding: float64(p.N) * 6}
		c.launch(round)
	}
	l.half += 2 * float64(p.N)
}

// attention is one kernel forward; backward the sums of dy·y, then dq and dk, dv.
func (c *counter) attention(call devicetest.Call) error {
	l := c.plain("attention", call, 1)
	l.unit = vector
	k, err := decode[device.Attention](call)
	if err != nil {
		return err
	}
	if call.Kind == "AttentionAt" || call.Kind == "AttentionAtBack" {
		at, err := decode[device.AttentionAt](call)
		if err != nil {
			return err
		}
		k = device.Attention{B: at.B, Tq: 1, Tk: at.T, Heads: at.Heads, HeadDim: at.HeadDim, Causal: at.Causal, Rows: at.Rows}
	}
	if k.Rows > 0 { // of different lengths: their mean
		k.Tk = max(1, k.Rows/k.B)
		k.Tq = min(k.Tq, k.Tk)
	}
	products := 2.
	if call.Kind == "AttentionBack" || call.Kind == "AttentionAtBack" {
		products = 5
	}
	l.flops = 2 * products * float64(k.B*k.Heads) * float64(k.Tq) * float64(k.Tk) * float64(k.HeadDim)
	if k.Causal {
		l.flops /= 2
	}
	c.launch(l)
	return nil
}

// convolution is as core/engine/device/cuda does it without cuDNN: cuBLAS for single pixels, else a kernel of ours that reads
// the weights in another order. It uses tensor cores in bf16, where channels are multiples of eight.
func (c *counter) convolution(call devicetest.Call) error {
	k, err := decode[device.Conv2D](call)
	if err != nil {
		return err
	}
	oh, ow := k.OutSize()
	x, y, out := call.Args[0], call.Args[1], call.Args[2]
	l := launch{class: "convolutions", unit: ours, flops: 2 * float64(k.B*oh*ow) * float64(k.OutC) * float64(k.InC*k.KH*k.KW)}
	onTensorCores := k.BF16 && k.InC%8 == 0 && k.OutC%8 == 0
	switch {
	case k.KH == 1 && k.KW == 1 && k.Stride == 1 && k.Pad == 0:
		l.unit = matrix
		c.operand(&l, k.BF16, x, y, 0, 0)
		c.operand(&l, k.BF16, y, x, 0, 0)
	case !onTensorCores:
		l.unit = vector
		c.move(&l, x, 1)
		c.move(&l, y, 1)
	case call.Kind == "ConvBackWeights":
		c.operand(&l, true, x, y, 0, 0)
		c.operand(&l, true, y, x, 0, 0)
	case call.Kind == "ConvForward":
		c.operand(&l, true, x, y, 0, 0)
		c.launch(launch{class: "convolutions", state: float64(6 * y.N)})
		l.half += float64(2 * y.N)
	default: // dx of w and dy
		c.operand(&l, true, y, x, 0, 0)
		c.launch(launch{class: "convolutions", state: float64(6 * x.N)})
		l.half += float64(2 * x.N)
	}
	c.move(&l, out, 1)
	c.launch(l)
	return nil
}

func (c *counter) layerNormBack(call devicetest.Call) { c.launch(c.plain("layer norm", call, 1)) }

func (c *counter) batchNorm(call devicetest.Call) {
	switch call.Kind {
	case "BatchNormBack": // sums over x, y and dy, then dx from all of them again
		sums := launch{class: "batch norm"}
		for _, a := range call.Args {
			if !a.Written {
				c.move(&sums, a, 1)
			}
		}
		c.launch(sums)
		c.launch(c.plain("batch norm", call, 1))
	default:
		c.launch(c.plain("batch norm", call, 1))
	}
}

// halves are the copies in bfloat16 that core/engine/device/cuda keeps: two, the one that was not used for longest is
// given up.
type halves struct {
	slot [2]struct {
		place      devicetest.Place
		rows, cols int
		turn       int
	}
	turn int
}

// summed says whether rows of a place were summed when it was rounded.
func (h *halves) summed(p devicetest.Place, rows, cols int) bool {
	for _, s := range h.slot {
		if s.place.N > 0 && s.place.Space == p.Space && s.place.From == p.From && s.rows == rows && s.cols == cols {
			return true
		}
	}
	return false
}

// take says whether there is a copy of a place, and makes one if not; not is the other operand, which must stay.
func (h *halves) take(p, not devicetest.Place, rows, cols int) bool {
	h.turn++
	victim := -1
	for i := range h.slot {
		s := &h.slot[i]
		if s.place.N >= p.N && s.place.Space == p.Space && s.place.From == p.From {
			s.turn = h.turn
			return true
		}
		same := s.place.N > 0 && s.place.Space == not.Space && s.place.From == not.From
		if !same && (victim < 0 || s.turn < h.slot[victim].turn) {
			victim = i
		}
	}
	if rows <= 128 { // not worth a launch of their own
		rows, cols = 0, 0
	}
	s := &h.slot[victim]
	s.place, s.rows, s.cols, s.turn = p, rows, cols, h.turn
	return false
}

// written forgets copies of memory that was written.
func (h *halves) written(p devicetest.Place) {
	for i := range h.slot {
		q := h.slot[i].place
		if q.N > 0 && q.Space == p.Space && q.From < p.From+p.N*p.Size && p.From < q.From+q.N*q.Size {
			h.slot[i].place = devicetest.Place{}
		}
	}
}
