package graph

import (
	"math"
	"slices"
	"testing"

	"tandem/core/engine/device"
	"tandem/core/engine/device/reference"
)

// wide names the operations whose values stay float32, without parameters' gradients, each once, sorted.
func wide(p *Program) []string {
	var names []string
	for i, list := range [][]*step{p.forward, p.backward} {
		for _, st := range list {
			for _, s := range st.outputs() {
				if s.dtype != device.Half && s.grad == nil {
					names = append(names, []string{"", "← "}[i]+st.name)
				}
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// autocasting names, for models, the operations whose values stay float32 on a device.Autocaster.
var autocasting = map[string][]string{
	// Pictures begin with a product: only what makes its operand and the embedding are float32.
	"vit": {"matmul", "normalize"},
	// Texts begin with rows of a table: the residual and its gradient are float32.
	"transformer": {"add", "gather", "l2_norm", "linear", "matmul", "← gather.back", "← l2_norm.back", "← layer_norm.back"},
	// Maps begin with a convolution: statistics and what makes its operand are float32, and the gradient that comes from outside.
	"residual network": {"batch_stats", "mean_tokens", "normalize", "← batch_norm.back", "← mean_tokens.back"},
}

func TestAutocast(t *testing.T) {
	for name := range autocasting {
		t.Run(name, func(t *testing.T) { autocasts(t, reference.NewAutocasting[float32](2), name) })
	}
}

// autocasts holds a model on an Autocaster to what PyTorch keeps as bfloat16, to float32, and to itself.
func autocasts(t *testing.T, b device.Backend, name string) {
	m := halfModels[name]
	got, p := m.step(t, b, CompileOptions{}, false, true)
	if wide, want := wide(p), autocasting[name]; !slices.Equal(wide, want) {
		t.Errorf("%q stay float32, want %q", wide, want)
	}
	for _, st := range p.forward {
		if k, ok := device.WithoutHalf(st.kernel).(device.MatMul); ok && name == "transformer" && k.N == 3*32 && st.args[st.outs].dtype != device.Half {
			t.Error("projections to queries, keys and values are float32")
		}
	}
	for way, run := range map[string]func() ([]float32, *Program){
		"again":         func() ([]float32, *Program) { return m.step(t, b, CompileOptions{}, false, true) },
		"checkpointed":  func() ([]float32, *Program) { return m.step(t, b, CompileOptions{}, true, true) },
		"without reuse": func() ([]float32, *Program) { return m.step(t, b, CompileOptions{NoReuse: true}, false, true) },
	} {
		if other, _ := run(); !slices.Equal(got, other) {
			t.Errorf("%s: other bits", way)
		}
	}
	plain, without := m.step(t, reference.New[float32](2), CompileOptions{}, false, true)
	m.f32 = true
	exact, _ := m.step(t, reference.New[float32](2), CompileOptions{}, false, true)
	ours, products := distance(got, exact), distance(plain, exact)
	if !(ours <= 2e-2) || !(products <= 2e-2) {
		t.Errorf("bfloat16 between kernels is %.1e from float32, products alone in bfloat16 %.1e", ours, products)
	}
	if ours == products {
		t.Error("nothing more than products is in bfloat16")
	}
	if a, w := p.Memory().Activations, without.Memory().Activations; a >= w {
		t.Errorf("%d bytes of activations, %d in float32", a, w)
	}
}

// distance returns ‖a − b‖/‖b‖.
func distance(a, b []float32) float64 {
	var d, n float64
	for i := range b {
		d += math.Pow(float64(a[i]-b[i]), 2)
		n += math.Pow(float64(b[i]), 2)
	}
	return math.Sqrt(d / n)
}

// apart hides that a backend has kernels that do the work of two.
type apart struct{ device.Backend }

func TestFusedGradientsAreTheSameBits(t *testing.T) {
	// Of two blocks: every norm, every linear layer. Of a bottleneck: its first convolution.
	for name, want := range map[string][3]int{"vit": {4, 8, 0}, "transformer": {4, 8, 0}, "residual network": {0, 0, 1}} {
		m := halfModels[name]
		for _, checkpointing := range []bool{false, true} {
			got, p := m.step(t, reference.New[float32](2), CompileOptions{}, checkpointing, true)
			plain, _ := m.step(t, apart{reference.New[float32](2)}, CompileOptions{}, checkpointing, true)
			if !slices.Equal(got, plain) {
				t.Errorf("%s: other bits", name)
			}
			norms, sums, convolutions := 0, 0, 0
			for _, st := range p.backward {
				switch k := st.kernel.(type) {
				case device.LayerNormBack:
					if k.Residual {
						norms++
					}
				case device.MatMul:
					if k.RowSums {
						sums++
					}
				case device.ConvBackData:
					if k.Residual {
						convolutions++
					}
				}
			}
			if found := [3]int{norms, sums, convolutions}; found != want {
				t.Errorf("%s: so many norms add a residual's gradient, products sum rows and convolutions add one: %d, want %d", name, found, want)
			}
		}
	}
}
