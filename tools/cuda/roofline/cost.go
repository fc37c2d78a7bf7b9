package main

import (
	"encoding/json"
	"fmt"
	"math"

	"tandem/core/engine/device"
	"tandem/core/engine/device/devicetest"
)

// unit names what does the arithmetic of a launch.
type unit int

const (
	none   unit = iota // bound by memory
	vector             // float32, our kernels
	matrix             // cuBLAS and cublasLt, in the precision of products
	ours               // our kernels in the precision of products, on tensor cores when it is bf16
)

// launch describes one kernel that the GPU runs: what it computes and moves at least.
type launch struct {
	class      string
	unit       unit
	full       bool // products in float32 whatever the precision: those of the loss
	flops      float64
	state      float64 // bytes of parameters, their gradients and the optimiser's state; ids, pixels
	activation float64 // bytes of all else in float32
	rounding   float64 // bytes of rounding operands to bfloat16
	half       float64 // bytes of activations in bfloat16
}

func (l launch) bytes() float64 { return l.state + l.activation + l.rounding + l.half }

// step holds what one part of a model does in one training step.
type step struct {
	devicetest.Step
	launches []launch
}

// counter turns calls of core/engine/device into launches, as core/engine/device/cuda makes them.
type counter struct {
	precision precision
	state     map[int]bool // allocations of parameters, gradients and the optimiser
	copies    copies
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
				c.copies.forget(a)
			}
		}
		if call.Kind == "ParamsChanged" {
			c.copies = copies{}
		}
	}
	return step{s, c.launches}, nil
}

// move adds the bytes of a place to a launch, by what they are.
func (c *counter) move(l *launch, p devicetest.Place) {
	bytes := float64(p.N * p.Size)
	switch {
	case c.state[p.Space] || p.Size == 1:
		l.state += bytes
	case p.Size == 2:
		l.half += bytes
	default:
		l.activation += bytes
	}
}

// plain returns one launch that reads and writes its arguments once.
func (c *counter) plain(class string, call devicetest.Call) launch {
	l := launch{class: class, flops: call.FLOPs}
	for _, a := range call.Args {
		c.move(&l, a)
	}
	return l
}

func (c *counter) launch(l launch) { c.launches = append(c.launches, l) }

func decode[K any](call devicetest.Call) (k K, err error) {
	err = json.Unmarshal(call.Kernel, &k)
	return k, err
}

// classOf names the rows of the tables for calls that are one launch, which reads and writes its arguments once.
var classOf = map[string]string{
	"LayerNorm": "layer norm", "LayerNormBack": "layer norm",
	"BatchStats": "batch norm", "BatchNorm": "batch norm", "RunningStats": "batch norm",
	"Binary": residuals, "Act": residuals, "ActBack": residuals, "Accumulate": residuals,
	"AvgPool": "pooling", "AvgPoolBack": "pooling", "MaxPool": "pooling", "MaxPoolBack": "pooling",
	"AdamW": "optimizer", "Average": "optimizer", "SumSquares": "optimizer",
	"L2Norm": rest, "L2NormBack": rest, "CrossEntropy": rest, "CrossEntropyBack": rest, "ScaleBy": rest, "ScaleByBack": rest,
	"Scale": rest, "SumCols": rest, "BroadcastRows": rest, "Transpose": rest, "Normalize": rest, "Patchify": rest,
	"Gather": rest, "GatherBack": rest, "Concat": rest, "Slice": rest, "SliceBack": rest, "MeanTokens": rest,
	"MeanTokensBack": rest, "Copy": rest, "Zero": rest,
}

const (
	residuals = "residuals, activations"
	rest      = "other"
)

// add counts one call.
func (c *counter) add(call devicetest.Call) error {
	switch call.Kind {
	case "MatMul":
		return c.product(call)
	case "Attention", "AttentionBack", "AttentionAt", "AttentionAtBack":
		return c.attention(call)
	case "ConvForward", "ConvBackData", "ConvBackWeights":
		return c.convolution(call)
	case "BatchNormBack":
		c.batchNormBack(call)
	case "SumRows":
		k, err := decode[device.SumRows](call)
		if err != nil {
			return err
		}
		c.sumRows(call.Args[0], call.Args[1], k.Rows, k.Cols)
	case "Write", "Read", "ParamsChanged": // between host and GPU, beside the kernels
	default:
		class, ok := classOf[call.Kind]
		if !ok {
			return fmt.Errorf("nothing is known of the work of a %s", call.Kind)
		}
		c.launch(c.plain(class, call))
	}
	return nil
}

// attention counts arithmetic outside of tensor cores, or by them, where the kernel is one in bfloat16: tokens fill tiles of
// sixteen there.
func (c *counter) attention(call devicetest.Call) error {
	k, err := decode[device.Attention](call)
	if err != nil {
		return err
	}
	l := c.plain("attention", call)
	l.unit = vector
	if k.BF16 && c.precision == bf16 {
		side := float64((k.Tq + 15) / 16 * 16)
		l.unit, l.flops = ours, l.flops*side*side/float64(k.Tq*k.Tq)
	}
	c.launch(l)
	return nil
}

// product counts the rounding of operands and the product: with bias and residual where that is all that follows it and
// they have the type of the result, as cublasLt has it, else with a kernel for what follows. Where all results are bfloat16, that takes
// the sums from scratch, in pieces.
func (c *counter) product(call devicetest.Call) error {
	k, err := decode[device.MatMul](call)
	if err != nil {
		return err
	}
	a, b, other, out := call.Args[0], call.Args[1], call.Args[3], call.Args[4]
	product := launch{class: "products", unit: matrix, full: call.Phase == "loss", flops: call.FLOPs}
	rows, cols := k.GradientShape() // a gradient's rows are summed for the bias while it is rounded
	c.operand(&product, k.BF16, a, b, rows, cols)
	c.operand(&product, k.BF16, b, a, 0, 0)
	sums := k.Act == device.Identity && !k.Slope && !k.Gate
	if sums && (!k.Residual || out.Size == other.Size) {
		if k.Bias && out.Size == 2 {
			c.launch(launch{class: "products", state: 6 * float64(k.N)}) // the bias is rounded
		}
		c.move(&product, out)
		c.move(&product, other)
		if k.RowSums && a.Size == 2 { // cublasLt sums what it reads
			c.move(&product, call.Args[5])
		}
		c.launch(product)
		if k.RowSums && a.Size != 2 {
			c.sumRows(a, call.Args[5], k.K, k.M)
		}
		return nil
	}
	after, pieces := launch{class: "after products"}, 1.
	switch to := out; {
	case k.Slope && call.Args[5].Size == 4: // the product is float32, where the slope will be
		to = call.Args[5]
		fallthrough
	case out.Size == 4:
		c.move(&product, to)
		c.move(&after, to)
	default:
		product.activation += 4 * float64(out.N)
		after.activation += 4 * float64(out.N)
		pieces = math.Ceil(4 * float64(out.N) / (64 << 20))
	}
	c.move(&after, out)
	c.move(&after, other)
	if k.Slope {
		c.move(&after, call.Args[5])
	}
	for range int(pieces) {
		c.launch(product.part(pieces))
		c.launch(after.part(pieces))
	}
	return nil
}

// part returns one of n equal pieces of a launch.
func (l launch) part(n float64) launch {
	for _, x := range []*float64{&l.flops, &l.state, &l.activation, &l.rounding, &l.half} {
		*x /= n
	}
	return l
}

// operand counts the reading of a product's operand p beside the other one, not. In bf16 it is rounded first, unless
// that was done for the product before.
func (c *counter) operand(l *launch, low bool, p, not devicetest.Place, rows, cols int) {
	if c.precision != bf16 || !low || p.Size == 2 {
		c.move(l, p)
		return
	}
	if !c.copies.take(p, not, rows, cols) {
		round := launch{class: "rounding to bfloat16", rounding: float64(p.N) * 6}
		c.launch(round)
	}
	l.half += 2 * float64(p.N)
}

// convolution counts what core/engine/device/cuda does without cuDNN: cuBLAS for single pixels, else a kernel of ours
// that reads the weights in another order. It uses tensor cores in bf16, where channels are multiples of eight.
func (c *counter) convolution(call devicetest.Call) error {
	k, err := decode[device.Conv2D](call)
	if err != nil {
		return err
	}
	x, y, out := call.Args[0], call.Args[1], call.Args[len(call.Args)-1]
	l := launch{class: "convolutions", unit: ours, flops: call.FLOPs}
	onTensorCores := k.BF16 && k.InC%8 == 0 && k.OutC%8 == 0
	switch {
	case k.KH == 1 && k.KW == 1 && k.Stride == 1 && k.Pad == 0:
		l.unit = matrix
		c.operand(&l, k.BF16, x, y, 0, 0)
		c.operand(&l, k.BF16, y, x, 0, 0)
	case !onTensorCores:
		l.unit = vector
		c.move(&l, x)
		c.move(&l, y)
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
	if len(call.Args) > 3 { // a gradient that is added
		c.move(&l, call.Args[2])
	}
	c.move(&l, out)
	c.launch(l)
	return nil
}

// batchNormBack counts the sums over x, y and dy, which write the residual's gradient, then dx from x and that or dy.
func (c *counter) batchNormBack(call devicetest.Call) {
	x, dy, dx := call.Args[0], call.Args[5], call.Args[6]
	sums, dxs := launch{class: "batch norm"}, launch{class: "batch norm"}
	for i, a := range call.Args {
		if !a.Written || i == 9 {
			c.move(&sums, a)
		}
	}
	if len(call.Args) > 9 {
		dy = call.Args[9]
	}
	for _, a := range []devicetest.Place{x, dy, dx} {
		c.move(&dxs, a)
	}
	c.launch(sums)
	c.launch(dxs)
}

// sumRows counts a gradient of a bias, whose lanes may have been summed when the gradient was rounded.
func (c *counter) sumRows(from, to devicetest.Place, rows, cols int) {
	l := launch{class: "bias gradients"}
	if !c.copies.summed(from, rows, cols) {
		c.move(&l, from)
		c.move(&l, to)
	}
	c.launch(l)
}
