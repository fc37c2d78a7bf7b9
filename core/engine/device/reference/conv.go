package reference

import "tandem/core/engine/device"

// Convolutions go through im2col: the windows of one picture become the rows of a matrix
// [OH·OW, KH·KW·InC], columns in the order (ky, kx, c), in which NHWC rows are copied whole.

// unfold fills cols from one picture x [H, W, InC]; padding is zero.
func unfold[T Float](c device.Conv2D, cols, x []T) {
	oh, ow := c.OutSize()
	at := 0
	for oy := 0; oy < oh; oy++ {
		for ox := 0; ox < ow; ox++ {
			for ky := 0; ky < c.KH; ky++ {
				y := oy*c.Stride + ky - c.Pad
				for kx := 0; kx < c.KW; kx++ {
					px := ox*c.Stride + kx - c.Pad
					dst := cols[at : at+c.InC]
					if y < 0 || y >= c.H || px < 0 || px >= c.W {
						clear(dst)
					} else {
						copy(dst, x[(y*c.W+px)*c.InC:])
					}
					at += c.InC
				}
			}
		}
	}
}

// fold adds the columns back onto a picture: the transpose of unfold.
func fold[T Float](c device.Conv2D, x, cols []T) {
	oh, ow := c.OutSize()
	clear(x)
	at := 0
	for oy := 0; oy < oh; oy++ {
		for ox := 0; ox < ow; ox++ {
			for ky := 0; ky < c.KH; ky++ {
				y := oy*c.Stride + ky - c.Pad
				for kx := 0; kx < c.KW; kx++ {
					px := ox*c.Stride + kx - c.Pad
					if y >= 0 && y < c.H && px >= 0 && px < c.W {
						dst := x[(y*c.W+px)*c.InC : (y*c.W+px+1)*c.InC]
						for j, v := range cols[at : at+c.InC] {
							dst[j] += v
						}
					}
					at += c.InC
				}
			}
		}
	}
}

// swapWeights moves weights [OutC, InC, KH·KW] to [OutC, KH·KW, InC], or back.
func swapWeights[T Float](c device.Conv2D, dst, src []T, back bool) {
	window := c.KH * c.KW
	for o := 0; o < c.OutC; o++ {
		for i := 0; i < c.InC; i++ {
			for k := 0; k < window; k++ {
				oihw, ohwi := (o*c.InC+i)*window+k, (o*window+k)*c.InC+i
				if back {
					dst[oihw] = src[ohwi]
				} else {
					dst[ohwi] = src[oihw]
				}
			}
		}
	}
}

// conv holds what the three convolution kernels share.
type conv[T Float] struct {
	device.Conv2D
	oh, ow  int
	window  int // KH·KW·InC
	xSize   int
	ySize   int
	weights []T   // [OutC, window]
	cols    [][]T // a matrix for each part of the batch
	partial [][]T // weight gradients of each part
}

func newConv[T Float](b *Backend[T], c device.Conv2D) *conv[T] {
	oh, ow := c.OutSize()
	return &conv[T]{Conv2D: c, oh: oh, ow: ow, window: c.KH * c.KW * c.InC, xSize: c.H * c.W * c.InC,
		ySize: oh * ow * c.OutC, weights: make([]T, c.OutC*c.KH*c.KW*c.InC), cols: make([][]T, b.threads),
		partial: make([][]T, b.threads)}
}

func (c *conv[T]) matrix(part int) []T {
	if c.cols[part] == nil {
		c.cols[part] = make([]T, c.oh*c.ow*c.window)
	}
	return c.cols[part]
}

// windows fills the matrix of picture i.
func (c *conv[T]) windows(part int, x []T, i int) []T {
	x = x[i*c.xSize : (i+1)*c.xSize]
	if c.Single() {
		return x
	}
	cols := c.matrix(part)
	unfold(c.Conv2D, cols, x)
	return cols
}

func (c *conv[T]) cost() int { return c.oh * c.ow * c.window * c.OutC }

func (b *Backend[T]) convForward(k device.Conv2D) func(args[T], scalars) {
	c := newConv(b, k)
	return func(a args[T], _ scalars) {
		swapWeights(k, c.weights, a[1].f, false)
		b.split(k.B, c.cost(), func(part, lo, hi int) {
			for i := lo; i < hi; i++ {
				y := a[2].f[i*c.ySize : (i+1)*c.ySize]
				gemm(false, true, c.oh*c.ow, k.OutC, c.window, 1, c.windows(part, a[0].f, i), c.window,
					c.weights, c.window, 0, y, k.OutC)
			}
		})
	}
}

func (b *Backend[T]) convBackData(kernel device.ConvBackData) func(args[T], scalars) {
	k := kernel.Conv2D
	c, out := newConv(b, k), 2
	if kernel.Residual {
		out = 3
	}
	return func(a args[T], _ scalars) {
		swapWeights(k, c.weights, a[0].f, false)
		b.split(k.B, c.cost(), func(part, lo, hi int) {
			for i := lo; i < hi; i++ {
				dx, dy := a[out].f[i*c.xSize:(i+1)*c.xSize], a[1].f[i*c.ySize:(i+1)*c.ySize]
				cols := dx
				if !c.Single() {
					cols = c.matrix(part)
				}
				gemm(false, false, c.oh*c.ow, c.window, k.OutC, 1, dy, k.OutC, c.weights, c.window, 0, cols, c.window)
				if !c.Single() {
					fold(k, dx, cols)
				}
				if kernel.Residual {
					for j, v := range a[2].f[i*c.xSize : (i+1)*c.xSize] {
						dx[j] += v
					}
				}
			}
		})
	}
}

func (b *Backend[T]) convBackWeights(k device.Conv2D) func(args[T], scalars) {
	c := newConv(b, k)
	return func(a args[T], _ scalars) {
		for _, p := range c.partial {
			clear(p)
		}
		b.split(k.B, c.cost(), func(part, lo, hi int) {
			if c.partial[part] == nil {
				c.partial[part] = make([]T, len(c.weights))
			}
			for i := lo; i < hi; i++ {
				dy := a[1].f[i*c.ySize : (i+1)*c.ySize]
				gemm(true, false, k.OutC, c.window, c.oh*c.ow, 1, dy, k.OutC, c.windows(part, a[0].f, i), c.window,
					1, c.partial[part], c.window)
			}
		})
		copy(c.weights, c.partial[0])
		for _, p := range c.partial[1:] {
			for j, v := range p {
				c.weights[j] += v
			}
		}
		swapWeights(k, a[2].f, c.weights, true)
	}
}
