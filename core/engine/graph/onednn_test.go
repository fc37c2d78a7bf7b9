//go:build onednn

package graph

import (
	"slices"
	"strings"
	"testing"

	"tandem/core/engine/device"
	"tandem/core/engine/device/onednn"
)

func TestOneDNNAgreesWithTheReference(t *testing.T) {
	fast, err := onednn.New(2)
	if err != nil {
		t.Skip(err)
	}
	agrees(t, fast)
}

func TestValuesKeptAsBF16GiveTheSameBitsInLessMemory(t *testing.T) {
	for _, isa := range []string{"avx512", "avx2"} { // where the processor multiplies bfloat16, and where it does not
		t.Run(isa, func(t *testing.T) {
			t.Setenv("TANDEM_ISA", isa)
			b, err := onednn.New(2)
			if err != nil {
				t.Skip(err)
			}
			halvesKeepBits(t, b, "vit", "transformer", "residual network")
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// halvesKeepBits trains and evaluates models on a backend that keeps values as bfloat16, and with NoHalf.
func halvesKeepBits(t *testing.T, b device.Backend, models ...string) {
	for _, name := range models {
		m := halfModels[name]
		for variant, run := range map[string]func(*testing.T, CompileOptions) ([]float32, *Program){
			"trained":      func(t *testing.T, o CompileOptions) ([]float32, *Program) { return m.step(t, b, o, false, true) },
			"checkpointed": func(t *testing.T, o CompileOptions) ([]float32, *Program) { return m.step(t, b, o, true, true) },
			"evaluated":    func(t *testing.T, o CompileOptions) ([]float32, *Program) { return m.step(t, b, o, false, false) },
			"half frozen": func(t *testing.T, o CompileOptions) ([]float32, *Program) {
				o.Frozen = func(name string) bool { return !strings.Contains(name, ".1.") && !strings.Contains(name, "conv3") }
				return m.step(t, b, o, false, true)
			},
			"without reuse": func(t *testing.T, o CompileOptions) ([]float32, *Program) {
				o.NoReuse = true
				return m.step(t, b, o, false, true)
			},
		} {
			t.Run(name+"/"+variant, func(t *testing.T) {
				got, half := run(t, CompileOptions{})
				want, real := run(t, CompileOptions{NoHalf: true})
				if !slices.Equal(got, want) {
					t.Error("the results are other bits")
				}
				if names := halved(real); names != nil {
					t.Errorf("%v are kept as bfloat16 with NoHalf", names)
				}
				if variant == "trained" {
					if names := halved(half); !slices.Equal(names, m.halves) {
						t.Errorf("%v are kept as bfloat16, want %v", names, m.halves)
					}
				}
				a, w := half.Memory(), real.Memory()
				sum, plain := a.Activations+a.Workspace, w.Activations+w.Workspace
				if sum > plain || m.halves != nil && variant == "trained" && sum*20 > plain*19 {
					t.Errorf("%d bytes of activations and workspace, %d without", sum, plain)
				}
			})
		}
	}
}

// halved names the operations whose values are kept as bfloat16, each once, sorted.
func halved(p *Program) []string {
	var names []string
	for _, st := range slices.Concat(p.forward, p.backward) {
		for _, s := range st.outputs() {
			if s.dtype == device.Half {
				names = append(names, strings.TrimSuffix(st.name, ".again"))
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
