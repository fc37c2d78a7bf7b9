package main

import (
	"encoding/json"
	"fmt"

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
	activation float64 // bytes of all else in float32, which a bfloat16 design would halve
	rounding   float64 // bytes of rounding operands to bfloat16, which it would not need
	half       float64 // bytes of activations that are bfloat16 already
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
		l := c.plain("attention", call)
		l.unit = vector
		c.launch(l)
	case "ConvForward", "ConvBackData", "ConvBackWeights":
		return c.convolution(call)
	case "BatchNormBack":
		c.batchNormBack(call)
	case "SumRows":
		return c.sumRows(call)
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

// product counts the rounding of operands and the product: with bias and residual where that is all that follows it, as
// cublasLt has it, else with a kernel for what follows.
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
	to := out
	if out.Size == 2 { // the product itself is float32, where the slope will be
		to = call.Args[5]
	}
	c.move(&product, to)
	fused := k.Act == device.Identity && !k.Slope && !k.Gate
	if fused && k.Residual {
		c.move(&product, other)
	}
	c.launch(product)
	if fused {
		return nil
	}
	after := launch{class: "after products"}
	c.move(&after, out)
	c.move(&after, to)
	c.move(&after, other)
	if k.Slope {
		c.move(&after, call.Args[5])
	}
	c.launch(after)
	return nil
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
func (c *counter) sumRows(call devicetest.Call) error {
	k, err := decode[device.SumRows](call)
	if err != nil {
		return err
	}
	l := launch{class: "bias gradients"}
	if !c.copies.summed(call.Args[0], k.Rows, k.Cols) {
		l = c.plain(l.class, call)
	}
	c.launch(l)
	return nil
}
