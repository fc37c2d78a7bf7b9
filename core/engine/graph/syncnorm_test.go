package graph

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"tandem/core/engine/device"
	"tandem/core/engine/device/devicetest"
	"tandem/core/engine/device/reference"
)

// passTogether runs the rigs side by side, forward and backward with dy, and updates their statistics.
func passTogether(t *testing.T, all *devicetest.Ranks, rigs []*rig, dy [][]float64) {
	t.Helper()
	err := all.Together(func(k int) error {
		run := rigs[k].run
		if err := run.Forward(); err != nil {
			return err
		}
		run.SetGrad(0, dy[k])
		return errors.Join(run.Backward(Overwrite), run.Update())
	})
	if err != nil {
		t.Fatal(err)
	}
}

func near(t *testing.T, what string, got, want []float64, tolerance float64) {
	t.Helper()
	largest, worst := 0.0, 0.0
	for i := range want {
		largest, worst = math.Max(largest, math.Abs(want[i])), math.Max(worst, math.Abs(got[i]-want[i]))
	}
	if len(got) != len(want) || !(worst <= tolerance*math.Max(largest, 1e-300)) {
		t.Errorf("%s: %d values differ by up to %.3g, the largest of %d is %.3g", what, len(got), worst, len(want), largest)
	}
}

func add(parts ...[]float64) []float64 {
	sum := slices.Clone(parts[0])
	for _, p := range parts[1:] {
		for i, v := range p {
			sum[i] += v
		}
	}
	return sum
}

// Ranks with unequal numbers of samples compute what one rank computes of all: outputs, gradients, statistics. Those of
// one rank are held against finite differences elsewhere.
func TestRanksNormaliseTheirBatchesAsOne(t *testing.T) {
	const size = 8 * 8 * 3
	images := pictures(rand.New(rand.NewPCG(5, 6)), 6*size)
	build := func(batch int, options Options) *rig {
		options.Training = true
		g, out := bottleneckIn(New(options), batch)
		return newRig(t, g, rand.New(rand.NewPCG(1, 2)), true, CompileOptions{Outputs: []*Node{out}})
	}
	dy := fill(rand.New(rand.NewPCG(3, 4)), 6*8, 1)
	for _, checkpointing := range []bool{false, true} {
		whole := build(6, Options{Checkpointing: checkpointing})
		all := devicetest.NewRanks(2)
		options := Options{Checkpointing: checkpointing, Sum: all.Sum}
		parts := []*rig{build(2, options), build(4, options)}
		for range 2 { // the second pass begins with statistics that have moved
			whole.run.SetInput("images", images)
			parts[0].run.SetInput("images", images[:2*size])
			parts[1].run.SetInput("images", images[2*size:])
			passTogether(t, devicetest.NewRanks(1), []*rig{whole}, [][]float64{dy})
			passTogether(t, all, parts, [][]float64{dy[:2*8], dy[2*8:]})
			near(t, "outputs", slices.Concat(parts[0].read(parts[0].run.Output(0)), parts[1].read(parts[1].run.Output(0))), whole.read(whole.run.Output(0)), 1e-12)
			near(t, "gradients", add(parts[0].read(parts[0].store.Grads), parts[1].read(parts[1].store.Grads)), whole.read(whole.store.Grads), 1e-11)
			for _, p := range parts {
				near(t, "statistics", p.read(p.states.Values), whole.read(whole.states.Values), 1e-12)
			}
		}
		if want := 2 * 2 * 5; all.Times() != want {
			t.Errorf("%d exchanges, want one for each of 5 norms in each of 4 passes, %d", all.Times(), want)
		}
		alone := build(2, Options{Checkpointing: checkpointing})
		alone.run.SetInput("images", images[:2*size])
		passTogether(t, devicetest.NewRanks(1), []*rig{alone}, [][]float64{dy[:2*8]})
		if slices.Equal(alone.read(alone.run.Output(0)), parts[0].read(parts[0].run.Output(0))) {
			t.Error("the other rank's samples made no difference")
		}
	}
}

// The gradient of an input too is that of the whole, and a mean far from 0 costs no accuracy.
func TestRanksNormaliseInFloat32(t *testing.T) {
	const rows, c = 16, 3
	rng := rand.New(rand.NewPCG(7, 8))
	x, dy := fill(rng, 2*rows*c, 1), fill(rng, 2*rows*c, 1)
	for i := range x {
		x[i] = float64(float32(200*float64(1+i%c) + x[i]))
	}
	run := func(b device.Backend, rows int, x, dy []float64, sum func([]float64) error) (out [][]float64, err error) {
		g := New(Options{Training: true, Sum: sum})
		in := g.Input("x", device.Real, rows, c)
		y := BatchNorm(in, g.Param("w", c), g.Param("b", c), g.State("mean", c), g.State("variance", c), .1, 1e-5, device.Identity, true)
		store := func(l Layout) Store {
			values, err1 := b.Alloc(device.Real, l.Total)
			grads, err2 := b.Alloc(device.Real, l.Total)
			if err = errors.Join(err, err1, err2); err == nil {
				b.Write(values, fill(rand.New(rand.NewPCG(9, 9)), l.Total, 1))
			}
			return Store{Layout: l, Values: values, Grads: grads}
		}
		params, states := store(g.Params()), store(g.States())
		if err != nil {
			return nil, err
		}
		p, err := Compile(g, b, CompileOptions{Outputs: []*Node{y}, Backward: []*Node{y}, WRT: []*Node{in}, Params: params, States: states})
		if err != nil {
			return nil, err
		}
		i, err := p.NewInstance()
		if err != nil {
			return nil, err
		}
		i.SetInput("x", x)
		err = i.Forward()
		i.SetGrad(0, dy)
		err = errors.Join(err, i.Backward(Overwrite), i.Update())
		for _, buffer := range []device.Buffer{i.Output(0), i.InputGrad(0), params.Grads, states.Values} {
			v := make([]float64, buffer.Len())
			b.Read(v, buffer)
			out = append(out, v)
		}
		return out, err
	}
	want, err := run(reference.New[float64](1), 2*rows, x, dy, nil)
	if err != nil {
		t.Fatal(err)
	}
	all := devicetest.NewRanks(2)
	var got [2][][]float64
	err = all.Together(func(k int) (err error) {
		from, to := k*rows*c, (k+1)*rows*c
		got[k], err = run(reference.New[float32](1), rows, x[from:to], dy[from:to], all.Sum)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	near(t, "outputs", slices.Concat(got[0][0], got[1][0]), want[0], 3e-5) // 600 as float32 is right to 3e-5
	near(t, "gradients of the input", slices.Concat(got[0][1], got[1][1]), want[1], 3e-5)
	near(t, "gradients of parameters", add(got[0][2], got[1][2]), want[2], 3e-5)
	near(t, "statistics", got[0][3], want[3], 1e-7)
	near(t, "statistics of the other rank", got[1][3], got[0][3], 0)
}

// Instances that run together have the bits of as many ranks: outputs, gradients added up in their order, statistics.
func TestInstancesRunTogetherAsRanksDo(t *testing.T) {
	const size, share = 8 * 8 * 3, 3
	images := pictures(rand.New(rand.NewPCG(5, 6)), 2*share*size)
	dy := fill(rand.New(rand.NewPCG(3, 4)), 2*share*8, 1)
	build := func(options Options) *rig {
		options.Training = true
		g, out := bottleneckIn(New(options), share)
		return newRig(t, g, rand.New(rand.NewPCG(1, 2)), true, CompileOptions{Outputs: []*Node{out}})
	}
	for _, checkpointing := range []bool{false, true} {
		all := devicetest.NewRanks(2)
		options := Options{Checkpointing: checkpointing, Sum: all.Sum}
		ranks := []*rig{build(options), build(options)}
		calls := 0
		options.Sum = func([]float64) error { calls++; return nil }
		one := build(options)
		second, err := one.prog.NewInstance()
		if err != nil {
			t.Fatal(err)
		}
		second.Use(NewWorkspace(one.backend))
		together := []*Instance{one.run, second}
		for range 2 {
			for k, i := range together {
				i.SetInput("images", images[k*share*size:(k+1)*share*size])
				ranks[k].run.SetInput("images", images[k*share*size:(k+1)*share*size])
			}
			passTogether(t, all, ranks, [][]float64{dy[:share*8], dy[share*8:]})
			if err := ForwardTogether(together); err != nil {
				t.Fatal(err)
			}
			for k, i := range together {
				i.SetGrad(0, dy[k*share*8:(k+1)*share*8])
				near(t, "outputs", one.read(i.Output(0)), ranks[k].read(ranks[k].run.Output(0)), 0)
			}
			told := map[string]int{}
			if err := BackwardTogether(together, Overwrite, func(param string) { told[param]++ }); err != nil {
				t.Fatal(err)
			}
			for _, e := range one.layout.Entries {
				if told[e.Name] != 1 {
					t.Errorf("%s was told %d times to be complete", e.Name, told[e.Name])
				}
			}
			if err := one.run.Update(); err != nil {
				t.Fatal(err)
			}
			near(t, "gradients", one.read(one.store.Grads), add(ranks[0].read(ranks[0].store.Grads), ranks[1].read(ranks[1].store.Grads)), 0)
			near(t, "statistics", one.read(one.states.Values), ranks[0].read(ranks[0].states.Values), 0)
		}
		if want := 2 * 2 * 5; calls != want {
			t.Errorf("%d sums over ranks, want %d", calls, want)
		}
	}
}

func TestAnExchangeThatFailsEndsThePass(t *testing.T) {
	broken := errors.New("rank 1 is gone")
	g, out := bottleneckIn(New(Options{Training: true, Sum: func([]float64) error { return broken }}), 2)
	r := newRig(t, g, rand.New(rand.NewPCG(1, 2)), true, CompileOptions{Outputs: []*Node{out}})
	r.run.SetInput("images", pictures(rand.New(rand.NewPCG(1, 1)), 2*8*8*3))
	if err := r.run.Forward(); !errors.Is(err, broken) {
		t.Errorf("forward: %v", err)
	}
}
