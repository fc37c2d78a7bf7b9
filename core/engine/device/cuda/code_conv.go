//go:build clipcuda

package cuda

import (
	"math"

	"tandem/core/engine/device"
	"tandem/core/engine/device/cuda/driver"
	"tandem/core/fault"
)

// conv describes a convolution kernel. Arguments 0 and 1 are read, 2 is written: x, w → y; w, dy → dx; x, dy → dw.
type conv struct {
	device.Conv2D
	oh, ow    int
	direction driver.Direction
	residual  bool // argument 2 is added to the result, which is 3
}

func convOf(k device.Kernel) conv {
	var c conv
	switch k := k.(type) {
	case device.ConvForward:
		c.Conv2D, c.direction = k.Conv2D, driver.Forward
	case device.ConvBackData:
		c.Conv2D, c.direction, c.residual = k.Conv2D, driver.BackData, k.Residual
	case device.ConvBackWeights:
		c.Conv2D, c.direction = k.Conv2D, driver.BackWeights
	}
	c.oh, c.ow = c.OutSize()
	return c
}

// convCode chooses how to convolve. Windows of single pixels are a product by cuBLAS. Other windows go to cuDNN when
// the library is there, else to a kernel of ours (kernels/conv.cu, conv_bf16.cu). cuDNN's result has the type of its operands: in
// bfloat16 it makes maps that are Half, all else is ours.
func (b *Backend) convCode(k device.Kernel, half device.Places) (code, error) {
	c := convOf(k)
	if c.BF16 {
		if err := b.checkBF16(); err != nil {
			return code{}, err
		}
	}
	if max(c.H*c.W*c.InC, c.oh*c.ow*c.OutC, c.OutC*c.InC*c.KH*c.KW, c.B*c.H*c.W, c.B*c.oh*c.ow) > math.MaxInt32 {
		return code{}, fault.New(fault.Unavailable, "a picture, the weights or the pixels of all pictures are more than %d", math.MaxInt32).
			WithHint("make the batch smaller")
	}
	if c.residual && !b.Fuses(k) {
		return code{}, fault.New(fault.Unavailable, "no convolution with a residual")
	}
	if c.Single() {
		if c.residual {
			return b.multiplyAndAdd(c)
		}
		return c.multiplyPixels(), nil
	}
	if !c.BF16 || c.onTensorCores() && half.Has(2) && c.direction != driver.BackWeights {
		dnn, err := b.cuDNN()
		if err != nil {
			return code{}, err
		}
		if dnn != nil {
			made, err := c.byCuDNN(dnn, b.options.TF32)
			if fault.KindOf(err) != fault.Unavailable {
				return made, err
			}
		}
	}
	if c.direction == driver.BackWeights {
		return c.weightGradient(), nil
	}
	return c.gatherWindows(), nil
}

// multiplyPixels multiplies all pixels and the weights.
func (c conv) multiplyPixels() code {
	m, a, b := device.MatMul{Batch: 1, M: c.B * c.H * c.W, N: c.OutC, K: c.InC, TransB: true, BF16: c.BF16}, arg(0), arg(1)
	switch c.direction {
	case driver.BackData:
		m.N, m.K, m.TransB = c.InC, c.OutC, false
		a, b = b, a
	case driver.BackWeights: // dyᵀ·x
		m = device.MatMul{Batch: 1, M: c.OutC, N: c.InC, K: m.M, TransA: true, BF16: c.BF16}
		a, b = b, a
	}
	run := launch{call: func(x *call) error { return x.multiply(m, a, b, 2, 0, 0) }}
	made := code{}
	if c.BF16 {
		made.halves = []arg{a, b}
		if c.direction != driver.BackWeights {
			run.params = []any{isHalf(2)}
		}
	}
	made.launches = []launch{run}
	return made
}

// multiplyAndAdd multiplies the gradients of all pixels and the weights as multiplyPixels does, and adds the residual.
func (b *Backend) multiplyAndAdd(c conv) (code, error) {
	made, err := b.matMulCode(device.MatMul{Batch: 1, M: c.B * c.H * c.W, N: c.InC, K: c.OutC, Residual: true, BF16: c.BF16})
	if err != nil {
		return code{}, err
	}
	const weights, dy, residual, dx = arg(0), arg(1), arg(2), arg(3)
	places := [...][2]arg{{leftArg, dy}, {rightArg, weights}, {otherArg, residual}, {resultArg, dx}}
	product, y := made.launches[0].call, call{b: b, addr: make([]driver.Ptr, slopeArg+1), lens: make([]int, slopeArg+1), half: make([]bool, slopeArg+1)}
	made.halves = []arg{dy, weights}
	if room := made.scratchOf; room != nil {
		made.scratchOf = func(half []bool, _ []int) int {
			as := make([]bool, slopeArg+1)
			as[otherArg], as[resultArg] = half[residual], half[dx]
			return room(as, nil)
		}
	}
	made.launches = []launch{{params: []any{isHalf(residual), isHalf(dx)}, call: func(x *call) error {
		for _, p := range places {
			to, from := p[0], p[1]
			y.addr[to], y.lens[to], y.half[to] = x.addr[from], x.lens[from], x.half[from]
		}
		y.other = 0
		return product(&y)
	}}}
	return made, nil
}

// workspaceLimit bounds the memory that a convolution of cuDNN may work with.
const workspaceLimit = 256 << 20

func (c conv) byCuDNN(dnn *driver.DNN, tf32 bool) (code, error) {
	problem := driver.Convolution{B: c.B, H: c.H, W: c.W, InC: c.InC, OutC: c.OutC, KH: c.KH, KW: c.KW, Stride: c.Stride, Pad: c.Pad, TF32: tf32}
	if c.BF16 {
		problem.Type = driver.BF16
	}
	plan, err := dnn.Plan(c.direction, problem, workspaceLimit)
	if err != nil {
		return code{}, err
	}
	weights := temp(0) // [OutC, KH, KW, InC]
	workspace := weights + temp(256*ceil(4*c.weights(), 256))
	source := arg(0)
	if c.direction == driver.BackData {
		source = 1
	}
	run := launch{call: func(x *call) error {
		from, at := x.at(source), x.temp(workspace)
		if c.BF16 {
			var err error
			if from, err = x.inBF16(source); err != nil {
				return err
			}
		}
		switch c.direction {
		case driver.BackData:
			return plan.Run(x.temp(weights), from, x.at(2), at)
		case driver.BackWeights:
			return plan.Run(from, x.at(1), x.temp(weights), at)
		}
		return plan.Run(from, x.temp(weights), x.at(2), at)
	}}
	made := code{scratch: int(workspace) + int(plan.Workspace()), release: plan.Destroy}
	if c.BF16 {
		made.halves, run.params = []arg{source}, []any{isHalf(2)}
	}
	window := c.KH * c.KW
	switch c.direction {
	case driver.Forward:
		made.launches = []launch{c.permuteWeights(arg(1), weights, [3]string{"out", "window", "in"}, c.BF16), run}
	case driver.BackData:
		made.launches = []launch{c.permuteWeights(arg(0), weights, [3]string{"out", "window", "in"}, c.BF16), run}
	case driver.BackWeights:
		made.launches = []launch{run, permute(weights, arg(2), [3]int{c.OutC, c.InC, window}, [3]int{window * c.InC, 1, c.InC}, false)}
	}
	return made, nil
}

func (c conv) weights() int { return c.OutC * c.InC * c.KH * c.KW }

// permuteWeights returns the launch that puts weights [out, in, window] into another order of these three.
func (c conv) permuteWeights(from arg, to temp, order [3]string, half bool) launch {
	var n, s [3]int
	for i, axis := range order {
		switch axis {
		case "out":
			n[i], s[i] = c.OutC, c.InC*c.KH*c.KW
		case "in":
			n[i], s[i] = c.InC, c.KH*c.KW
		case "window":
			n[i], s[i] = c.KH*c.KW, 1
		}
	}
	return permute(from, to, n, s, half)
}

// permute returns the launch that writes an array of shape n, whose numbers lie s apart at from.
func permute(from, to any, n, s [3]int, half bool) launch {
	return launch{entry: "permute", grid: dim{x: min(ceil(n[0]*n[1]*n[2], 256), 4096)}, block: dim{x: 256},
		params: []any{from, to, n[0], n[1], n[2], s[0], s[1], s[2], bit(half)}}
}

// tiles describes how a product of m by n is cut into squares of side numbers.
type tiles struct {
	side, count, threads int
	suffix               string
}

// largeFrom counts the large tiles that there must be to fill a GPU.
var largeFrom = 128

// tilesOf chooses large tiles where there are enough of them, or where sums can be split until there are.
func tilesOf(m, n, splits int, bf16 bool) tiles {
	t := tiles{side: 64, threads: 256, suffix: "_64"}
	if n > 64 && m > 64 && ceil(m, 128)*ceil(n, 128)*splits >= largeFrom {
		t.side, t.suffix = 128, "_128"
	}
	if bf16 {
		t.threads, t.suffix = 2*t.side, "_bf16"+t.suffix
	}
	t.count = ceil(m, t.side) * ceil(n, t.side)
	return t
}

// Of the tiles of conv_bf16.cu: numbers of a step, steps in shared memory, and numbers between rows that keep them on different banks.
const (
	tileStep   = 32
	tileStages = 4
	tileApart  = 8
)

// shared returns the bytes of tiles of bfloat16, two in each stage: rows of numbers each.
func shared(rows, numbers int) int { return tileStages * 2 * 2 * rows * (numbers + tileApart) }

// onTensorCores reports whether both operands go to tensor cores. Where channels are not multiples of eight, as in the
// first convolution of a tower with its three colours, the kernels of float32 round what they load.
func (c conv) onTensorCores() bool { return c.BF16 && c.InC%8 == 0 && c.OutC%8 == 0 }

// half returns a parameter that says whether an argument is bfloat16, which it may be where operands are.
func (c conv) half(i arg) any {
	if c.BF16 {
		return isHalf(i)
	}
	return 0
}

// gatherWindows computes y, or dx, from windows of the map that is read.
func (c conv) gatherWindows() code {
	source, weights, channels, n := arg(0), arg(1), "in", c.OutC
	read, write := [3]int{c.H, c.W, c.InC}, [2]int{c.oh, c.ow}
	if c.direction == driver.BackData {
		source, weights, channels, n = arg(1), arg(0), "out", c.InC
		read, write = [3]int{c.oh, c.ow, c.OutC}, [2]int{c.H, c.W}
	}
	m := c.B * write[0] * write[1]
	t := tilesOf(m, n, 1, c.onTensorCores())
	sizes := []any{temp(0), arg(2), m, n, read[0], read[1], read[2], write[0], write[1], c.KH, c.KW, c.Stride, c.Pad,
		bit(c.direction == driver.BackData)}
	product := launch{entry: "conv" + t.suffix, grid: dim{x: t.count}, block: dim{x: t.threads}}
	made := code{scratch: 4 * c.weights()}
	// Weights in the order that products read them: [n, K] on tensor cores, [K, n] else.
	order := [3]string{"window", channels, other(channels)}
	if c.onTensorCores() {
		order = [3]string{other(channels), "window", channels}
		made.halves = []arg{source}
		product.params, product.shared = join([]any{rounded(source)}, sizes, []any{isHalf(2)}), shared(t.side, tileStep)
	} else {
		product.params = join([]any{source}, sizes, []any{bit(c.BF16), c.half(source), c.half(2)})
	}
	made.launches = []launch{c.permuteWeights(weights, temp(0), order, c.onTensorCores()), product}
	return made
}

func other(channels string) string {
	if channels == "in" {
		return "out"
	}
	return "in"
}

// weightGradient sums over the pixels of y in chunks, then over the chunks. The order depends on sizes alone.
func (c conv) weightGradient() code {
	pixels, window := c.B*c.oh*c.ow, c.KH*c.KW
	most := ceil(pixels, 256) // splits
	t := tilesOf(window*c.InC, c.OutC, most, c.onTensorCores())
	chunk := ceil(pixels, max(1, min(ceil(512, t.count), most)))
	splits := ceil(pixels, chunk)
	sizes := []any{temp(0), pixels, chunk, c.OutC, c.H, c.W, c.InC, c.oh, c.ow, c.KH, c.KW, c.Stride, c.Pad}
	product := launch{entry: "conv_weights" + t.suffix, grid: dim{x: t.count, y: splits}, block: dim{x: t.threads}}
	made := code{scratch: 4 * splits * c.weights()}
	if c.onTensorCores() {
		made.halves = []arg{0, 1}
		product.params, product.shared = join([]any{rounded(0), rounded(1)}, sizes), shared(tileStep, t.side)
	} else {
		product.params = join([]any{arg(0), arg(1)}, sizes, []any{bit(c.BF16), c.half(0), c.half(1)})
	}
	made.launches = []launch{product, {entry: "sum_weights", grid: dim{x: min(ceil(c.weights(), 256), 4096)}, block: dim{x: 256},
		params: []any{temp(0), arg(2), splits, window, c.InC, c.OutC}}}
	return made
}
