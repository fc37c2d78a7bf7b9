package loss

import (
	"context"
	"math"
	"slices"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/engine/device"
	"tandem/core/engine/device/reference"
	"tandem/core/engine/graph"
	"tandem/core/fault"
	"tandem/core/tensor"
)

// everything defines a loss of all inputs at once, one part for each idea:
//
//	pairs    images find the texts of their group among all texts and all negatives (NegCLIP, UniCL)
//	views    images find their second view (SimCLR)
//	teachers the students' cosines within each modality are those of the teachers
//	tokens   pictures and captions find each other by the means of their tokens; tokens are like their caption
func everything(clip.LossConfig) (Definition, error) {
	return Definition{
		Inputs: clip.LossInputs, Scalars: []Scalar{{Name: LogitScale, Init: .5, Max: 9}}, Learn: true,
		Report: func(func(string) float64) map[string]float64 { return nil },
		Build: func(b Batch) []Part {
			logits := func(a, c *graph.Node) *graph.Node {
				return graph.ScaleByExp(graph.MatMul(a, c, false, true), b.Scalars[LogitScale])
			}
			apart := func(a, teacher *graph.Node) *graph.Node {
				d := graph.Sub(graph.MatMul(a, a, false, true), graph.MatMul(teacher, teacher, false, true))
				return graph.SumCols(graph.Mul(d, d))
			}
			mean := func(name string) *graph.Node { return graph.MeanTokens(b.Input(name), b.Lengths(name)) }
			texts := b.Input(clip.InputTextTokens) // [B, T, D]
			like := graph.MatMul(texts, graph.Reshape(b.Text, b.Size, 1, b.Text.Dim(1)), false, true)
			like = graph.Mul(graph.Reshape(like, b.Size, texts.Dim(1)), b.Mask(clip.InputTextTokens))
			return []Part{
				{Name: "pairs", Weight: .5, Losses: b.CrossEntropy(logits(b.Image, Rows(b.Text, b.Input(clip.InputTextNegatives))), b.GroupTargets())},
				{Name: "views", Weight: .3, Losses: graph.CrossEntropy(logits(b.Image, b.Input(clip.InputImageView2)), b.Partners(0, b.Size), .1)},
				{Name: "teacher of images", Weight: .2, Losses: apart(b.Image, b.Input(clip.InputTeacherImage))},
				{Name: "teacher of texts", Weight: .1, Losses: apart(b.Text, b.Input(clip.InputTeacherText))},
				{Name: "tokens", Weight: 1, Losses: b.CrossEntropy(logits(mean(clip.InputImageTokens), mean(clip.InputTextTokens)), b.GroupTargets())},
				{Name: "captions", Weight: .7, Losses: graph.SumCols(graph.Mul(like, like))},
			}
		},
	}, nil
}

const (
	pairs, dim, negatives   = 5, 4, 2
	imageWidth, textWidth   = 3, 6 // of the teachers
	imageTokens, textTokens = 3, 7
)

// wave makes rows of arbitrary numbers.
func wave(name string, shape ...int) *tensor.Tensor {
	x := tensor.New(tensor.F32, shape...)
	for i := range x.F32() {
		x.F32()[i] = float32(math.Sin(float64(len(name)*31+int(name[0]))+1.7*float64(i))) / 2
	}
	return x
}

// asked makes a request with everything; tokens after a sample's own are zero.
func asked() clip.LossRequest {
	lengths := func(n ...int32) *tensor.Tensor {
		x := tensor.New(tensor.I32, len(n))
		copy(x.I32(), n)
		return x
	}
	req := clip.LossRequest{Image: wave("image", pairs, dim), Text: wave("text", pairs, dim), Train: true, Inputs: map[string]clip.LossInput{
		clip.InputTextNegatives: {Value: wave("negatives", pairs*negatives, dim)},
		clip.InputImageView2:    {Value: wave("view", pairs, dim)},
		clip.InputTeacherImage:  {Value: wave("teacher", pairs, imageWidth)},
		clip.InputTeacherText:   {Value: wave("teachers", pairs, textWidth)},
		clip.InputGroups:        {Value: lengths(0, 1, 0, 2, 1)},
		clip.InputImageTokens:   {Value: wave("patches", pairs, imageTokens, dim), Lengths: lengths(3, 1, 2, 3, 3)},
		clip.InputTextTokens:    {Value: wave("tokens", pairs, textTokens, dim), Lengths: lengths(2, 7, 3, 4, 7)},
	}}
	for _, x := range req.Inputs {
		if x.Lengths == nil {
			continue
		}
		for i, n := range x.Lengths.I32() {
			clear(x.Value.F32()[(i*x.Value.Shape[1]+int(n))*dim : (i+1)*x.Value.Shape[1]*dim])
		}
	}
	return req
}

// configuration fits asked.
var configuration = clip.LossConfig{EmbedDim: dim, BatchSize: pairs, Negatives: negatives, TeacherImageDim: imageWidth, TeacherTextDim: textWidth,
	Optimizer: clip.Optimizer{Name: "sgd"}, Compute: clip.Compute{Device: "host", Threads: 1}}

func opened(t *testing.T, define Define, c clip.LossConfig, options ...Option) *Loss {
	t.Helper()
	l := New(define, options...)
	t.Cleanup(func() { l.Close() })
	if _, err := l.Configure(context.Background(), c); err != nil {
		t.Fatal(err)
	}
	return l
}

var double = WithBackend(func(clip.Compute) (device.Backend, error) { return reference.New[float64](1), nil })

func computed(t *testing.T, l *Loss, req clip.LossRequest) *clip.LossResult {
	t.Helper()
	r, err := l.Compute(context.Background(), req)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Along half the gradient and half at random, the value changes as the gradient of each input says, in one block and in
// several.
func TestGradientsOfEveryInputAreThoseOfFiniteDifferences(t *testing.T) {
	l := opened(t, everything, configuration, double)
	base := asked()
	r := computed(t, l, base)
	gradients := map[string]*tensor.Tensor{"image": r.DImage, "text": r.DText}
	for name, g := range r.Gradients {
		gradients[name] = g
	}
	if len(gradients) != 6 {
		t.Fatalf("gradients of %d inputs, want those of image, text, text_negatives, image_view2, image_tokens, text_tokens", len(gradients))
	}
	for name, g := range gradients {
		norm := 0.0
		for _, v := range g.F32() {
			norm += float64(v) * float64(v)
		}
		if norm = math.Sqrt(norm); norm < 1e-2 {
			t.Errorf("the gradient of %s has norm %g", name, norm)
		}
		random := wave("direction "+name, g.Shape...).F32()
		difference := func(h float64) float64 {
			values, along := [2]float64{}, 0.0
			for side, sign := range []float64{-1, 1} {
				req := asked()
				x := map[string]*tensor.Tensor{"image": req.Image, "text": req.Text}[name]
				if x == nil {
					x = req.Inputs[name].Value
				}
				for i, v := range x.F32() {
					x.F32()[i] = v + float32(sign*h*(float64(random[i])+float64(g.F32()[i])/norm))
					along += sign * float64(x.F32()[i]) * float64(g.F32()[i])
				}
				req.Train = false
				values[side] = computed(t, l, req).Value
			}
			return (values[1] - values[0]) - along
		}
		const h = 1e-2
		if d := (8*difference(h/2) - difference(h)) / (6 * h); !(math.Abs(d) < 2e-5*(norm+1)) { // without the term of h³
			t.Errorf("%s: finite differences are apart from the gradient by %g of %g", name, d, norm)
		}
	}
}

// Single precision, on the reference backend and on what the CPU has, is double precision but for rounding.
func TestEveryBackendGivesTheSame(t *testing.T) {
	want := computed(t, opened(t, everything, configuration, double), asked())
	for _, name := range []string{"host", "cpu"} {
		c := configuration
		c.Compute.Device = name
		got := computed(t, opened(t, everything, c), asked())
		if math.Abs(got.Value-want.Value) > 1e-5*want.Value {
			t.Errorf("%s: the value is %v, want %v", name, got.Value, want.Value)
		}
		for input, g := range want.Gradients {
			for i, v := range g.F32() {
				if math.Abs(float64(got.Gradients[input].F32()[i]-v)) > 1e-5 {
					t.Errorf("%s: the gradient of %s[%d] is %v, want %v", name, input, i, got.Gradients[input].F32()[i], v)
					break
				}
			}
		}
	}
}

// What stands after a sample's tokens has no part in the value when the loss keeps to lengths and masks, and no gradient.
func TestTokensAfterASamplesOwnDoNotCount(t *testing.T) {
	l := opened(t, everything, configuration)
	want := computed(t, l, asked())
	req := asked()
	for _, name := range []string{clip.InputImageTokens, clip.InputTextTokens} {
		x, g := req.Inputs[name], want.Gradients[name].F32()
		for i, n := range x.Lengths.I32() {
			for k := (i*x.Value.Shape[1] + int(n)) * dim; k < (i+1)*x.Value.Shape[1]*dim; k++ {
				if x.Value.F32()[k] = 7; g[k] != 0 {
					t.Fatalf("%s: sample %d has %d tokens, and a gradient after them", name, i, n)
				}
			}
		}
	}
	if got := computed(t, l, req); got.Value != want.Value {
		t.Errorf("the value is %v, with other numbers after the tokens %v", want.Value, got.Value)
	}
}

// Gradients go where they are asked for, and what the value does not depend on has a gradient of zeros; such inputs
// change no bit of the loss.
func TestInputsThatALossDoesNotUseCostNothing(t *testing.T) {
	idle := func(c clip.LossConfig) (Definition, error) {
		d, err := distance(c)
		d.Inputs = clip.LossInputs
		return d, err
	}
	plain, l := opened(t, distance, configuration), opened(t, idle, configuration)
	req := asked()
	want := computed(t, plain, clip.LossRequest{Image: req.Image, Text: req.Text, Train: true})
	x := req.Inputs[clip.InputImageView2]
	x.Into = wave("dirty", pairs, dim)
	req.Inputs[clip.InputImageView2] = x
	got := computed(t, l, req)
	if got.Value != want.Value || !slices.Equal(got.DImage.F32(), want.DImage.F32()) || !slices.Equal(got.DText.F32(), want.DText.F32()) {
		t.Error("the loss has other bits")
	}
	if got.Gradients[clip.InputImageView2] != x.Into {
		t.Error("the gradient is not where it was asked for")
	}
	for name, g := range got.Gradients {
		if !g.Shape.Equal(req.Inputs[name].Value.Shape) || slices.ContainsFunc(g.F32(), func(v float32) bool { return v != 0 }) {
			t.Errorf("%s: the gradient is %v %v, want zeros", name, g.Shape, g.F32())
		}
	}
	if l.Work() != plain.Work() {
		t.Errorf("%g operations, %g without the inputs", l.Work(), plain.Work())
	}
}

// A batch of another number of tokens has a program of its own.
func TestTokensMayBeOfAnyNumber(t *testing.T) {
	l := opened(t, everything, configuration)
	want := computed(t, l, asked()).Value
	req := asked()
	x := req.Inputs[clip.InputImageTokens]
	longer := tensor.New(tensor.F32, pairs, imageTokens+2, dim)
	for i := range pairs {
		copy(longer.F32()[i*(imageTokens+2)*dim:], x.Value.F32()[i*imageTokens*dim:(i+1)*imageTokens*dim])
	}
	req.Inputs[clip.InputImageTokens] = clip.LossInput{Value: longer, Lengths: x.Lengths}
	if got := computed(t, l, req).Value; math.Abs(got-want) > 1e-6 {
		t.Errorf("%v, with more room for tokens %v", want, got)
	}
	if got := computed(t, l, asked()).Value; got != want {
		t.Errorf("%v at first, then %v", want, got)
	}
}

// Whatever is missing, unasked for or of another form is refused by its name.
func TestInputsThatDoNotFitAreRefused(t *testing.T) {
	l := opened(t, everything, configuration)
	for what, c := range map[string]struct {
		change func(map[string]clip.LossInput)
		said   string
	}{
		"missing": {func(m map[string]clip.LossInput) { delete(m, clip.InputGroups) }, "no groups"},
		"nil":     {func(m map[string]clip.LossInput) { m[clip.InputImageView2] = clip.LossInput{} }, "no image_view2"},
		"rows": {func(m map[string]clip.LossInput) {
			m[clip.InputTextNegatives] = clip.LossInput{Value: wave("n", pairs, dim)}
		}, "text_negatives is f32 [5 4], want f32 [10 4]"},
		"width":  {func(m map[string]clip.LossInput) { m[clip.InputTeacherImage] = m[clip.InputTeacherText] }, "want f32 [5 3]"},
		"floats": {func(m map[string]clip.LossInput) { m[clip.InputGroups] = clip.LossInput{Value: wave("g", pairs)} }, "want i32 [5]"},
		"no lengths": {func(m map[string]clip.LossInput) {
			m[clip.InputTextTokens] = clip.LossInput{Value: m[clip.InputTextTokens].Value}
		}, "no lengths"},
		"too long": {func(m map[string]clip.LossInput) {
			m[clip.InputImageTokens] = clip.LossInput{Value: m[clip.InputImageTokens].Value, Lengths: m[clip.InputTextTokens].Lengths}
		}, "sample 1 has 7 tokens of 3"},
		"no axis": {func(m map[string]clip.LossInput) {
			m[clip.InputImageTokens] = clip.LossInput{Value: wave("t", pairs, dim), Lengths: m[clip.InputImageTokens].Lengths}
		}, "image_tokens is f32 [5 4]"},
		"nobody asked for it": {func(m map[string]clip.LossInput) { m["weather"] = clip.LossInput{} }, "the loss takes image, text, text_negatives"},
	} {
		req := asked()
		c.change(req.Inputs)
		_, err := l.Compute(context.Background(), req)
		if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), c.said) {
			t.Errorf("%s: got %v, want fault.Invalid with %q", what, err, c.said)
		}
	}
	req := asked()
	req.Inputs[clip.InputTextNegatives].Value.F32()[9] = float32(math.NaN())
	if _, err := l.Compute(context.Background(), req); fault.KindOf(err) != fault.Numeric || !strings.Contains(fault.Format(err), "text_negatives holds a non-finite number, first in row 2") {
		t.Errorf("got %s", fault.Format(err))
	}
}

// A configuration without what the loss takes is refused with what would give it.
func TestAConfigurationWithoutTheInputsIsRefused(t *testing.T) {
	for hint, change := range map[string]func(*clip.LossConfig){
		"dataset":       func(c *clip.LossConfig) { c.Negatives = 0 },
		"teacher.image": func(c *clip.LossConfig) { c.TeacherImageDim = 0 },
		"teacher.text":  func(c *clip.LossConfig) { c.TeacherTextDim = 0 },
	} {
		c := configuration
		change(&c)
		_, err := New(everything).Configure(context.Background(), c)
		if fault.KindOf(err) != fault.Invalid || !strings.Contains(fault.Format(err), hint) {
			t.Errorf("got %s, want fault.Invalid with a hint at %s", fault.Format(err), hint)
		}
	}
}

// The plan of a loss counts its inputs; what nobody can know yet is guessed.
func TestPlanCountsTheInputs(t *testing.T) {
	needed := func(define Define, k int) int64 {
		g := &gpu{Backend: reference.New[float32](1), limit: 1 << 30}
		l := New(define, WithBackend(func(clip.Compute) (device.Backend, error) { return g, nil }))
		defer l.Close()
		c := clip.LossConfig{EmbedDim: dim, BatchSize: 64, Negatives: k, Optimizer: clip.Optimizer{Name: "sgd"}}
		p, err := l.Plan(context.Background(), clip.PlanRequest{Loss: &c})
		if err != nil {
			t.Fatal(err)
		}
		return p.Needed()
	}
	plain, unknown, three := needed(distance, 0), needed(everything, 0), needed(everything, 3)
	if unknown < plain+3*64*guessedTokens*dim*4 || three < unknown+2*64*64*4 {
		t.Errorf("%d bytes without inputs, %d with, %d with three negatives", plain, unknown, three)
	}
}
