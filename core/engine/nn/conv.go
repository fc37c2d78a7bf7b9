package nn

import "fmt"

// Conv2D convolves feature maps [B, H, W, C] without a bias; its weights are [out, in, size, size].
type Conv2D struct {
	In, Out, Size, Stride, Pad int
	Weight                     *Param
}

// NewConv2D registers name.weight [out, in, size, size] with PyTorch's default initialiser.
func NewConv2D(s *Set, name string, in, out, size, stride, pad int) *Conv2D {
	return &Conv2D{
		In: in, Out: out, Size: size, Stride: stride, Pad: pad,
		Weight: s.Param(name+".weight", FanIn, out, in, size, size),
	}
}

// bnMomentum weighs a batch's statistics in the running ones (PyTorch's default).
const bnMomentum = 0.1

// BatchNorm normalises each channel over the batch and both spatial axes (Ioffe & Szegedy 2015).
// Graphs for training use the batch's statistics and update the running ones; those for inference, and
// wherever gain and shift are frozen, use the running ones as they are.
type BatchNorm struct {
	Channels       int
	Gain, Shift    *Param
	Mean, Variance *Stat
}

// NewBatchNorm registers name.{weight,bias,running_mean,running_var} [channels].
func NewBatchNorm(s *Set, name string, channels int, gain Init) *BatchNorm {
	return &BatchNorm{
		Channels: channels,
		Gain:     s.Param(name+".weight", gain, channels),
		Shift:    s.Param(name+".bias", Zeros, channels),
		Mean:     s.Stat(name+".running_mean", 0, channels),
		Variance: s.Stat(name+".running_var", 1, channels),
	}
}

// Bottleneck holds the residual block of ResNet-50 and deeper (He et al. 2016): 1×1, 3×3 and 1×1 convolutions with a
// fourfold expansion, ReLU after the addition.
//
// With AvgDown the block is CLIP's: all convolutions have stride 1, and where the block downsamples, an average pool
// follows the 3×3 convolution and precedes the shortcut's 1×1. Without it, the 3×3 convolution and the shortcut's 1×1
// have the stride.
type Bottleneck struct {
	stride       int
	avgDown      bool
	c1, c2, c3   *Conv2D
	b1, b2, b3   *BatchNorm
	shortcut     *Conv2D // nil: identity
	shortcutNorm *BatchNorm
}

// expansion multiplies a bottleneck's inner width to that of its output.
const expansion = 4

// NewBottleneck registers name.{conv1-3,bn1-3}, and name.downsample.{0,1} where the shape changes.
// bn3.weight starts at 0, so that the block starts as its shortcut.
func NewBottleneck(s *Set, name string, in, width, stride int, avgDown bool) *Bottleneck {
	b := &Bottleneck{stride: stride, avgDown: avgDown}
	convStride := stride
	if avgDown {
		convStride = 1
	}
	b.c1, b.b1 = NewConv2D(s, name+".conv1", in, width, 1, 1, 0), NewBatchNorm(s, name+".bn1", width, Ones)
	b.c2, b.b2 = NewConv2D(s, name+".conv2", width, width, 3, convStride, 1), NewBatchNorm(s, name+".bn2", width, Ones)
	b.c3 = NewConv2D(s, name+".conv3", width, width*expansion, 1, 1, 0)
	b.b3 = NewBatchNorm(s, name+".bn3", width*expansion, Zeros)
	if stride > 1 || in != width*expansion {
		b.shortcut = NewConv2D(s, name+".downsample.0", in, width*expansion, 1, convStride, 0)
		b.shortcutNorm = NewBatchNorm(s, name+".downsample.1", width*expansion, Ones)
	}
	return b
}

// Stage holds a sequence of bottlenecks; the first changes width and resolution.
type Stage struct{ Blocks []*Bottleneck }

// NewStage registers blocks bottlenecks as name.0, name.1, … and gives the stage, whose output has
// 4·width channels.
func NewStage(s *Set, name string, blocks, in, width, stride int, avgDown bool) *Stage {
	st := &Stage{}
	for i := range blocks {
		if i > 0 {
			in, stride = width*expansion, 1
		}
		st.Blocks = append(st.Blocks, NewBottleneck(s, fmt.Sprintf("%s.%d", name, i), in, width, stride, avgDown))
	}
	return st
}
