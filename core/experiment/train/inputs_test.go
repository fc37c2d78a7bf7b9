package train_test

import (
	"context"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/experiment/train"
	"tandem/core/fault"
	"tandem/core/tensor"
)

// rich implements a dataset with all that losses may take. Every third sample is in a group with the next.
type rich struct {
	patterns
	broken int // samples whose index is a multiple cannot be read; 0: all can
	asked  []clip.BatchRequest
}

const negatives = 2

func (d *rich) Batch(ctx context.Context, q clip.BatchRequest) (*clip.Batch, error) {
	d.asked = append(d.asked, q)
	b, err := d.patterns.Batch(ctx, q)
	if err != nil {
		return nil, err
	}
	for i, index := range q.Indices {
		b.Groups = append(b.Groups, int64(index-min(1, index%3)))
		if d.broken > 0 && index%d.broken == 0 {
			b.Faults = append(b.Faults, clip.SampleFault{Index: index, Key: b.Keys[i], Msg: "broken"})
		}
	}
	if q.Negatives {
		for _, index := range q.Indices {
			b.Negatives = append(b.Negatives, []string{fmt.Sprintf("not %d", index*7), fmt.Sprintf("nor %d in %d", index*13, q.Epoch)})
		}
	}
	if q.View2 {
		b.Images2 = b.Images.Clone()
		for i, index := range q.Indices {
			rng := rand.New(rand.NewPCG(uint64(index), uint64(3+q.Epoch)))
			for j := range feats {
				b.Images2.U8()[i*feats+j] += byte(rng.IntN(20))
			}
		}
	}
	return b, nil
}

// tokenTower is a linear tower that also embeds parts of a sample: its features turned by one, by two, …
type tokenTower struct {
	*linear
	asked []clip.ForwardRequest
	norms int // backward passes that were asked for the norm
}

const tokens = 3

func (l *tokenTower) Forward(ctx context.Context, q clip.ForwardRequest) (*tensor.Tensor, clip.Ticket, error) {
	l.asked = append(l.asked, q)
	return l.linear.Forward(ctx, q)
}

func (l *tokenTower) ForwardTokens(ctx context.Context, q clip.ForwardRequest) (clip.TokenOutput, clip.Ticket, error) {
	l.asked = append(l.asked, q)
	out, ticket, err := l.linear.Forward(ctx, q)
	if err != nil {
		return clip.TokenOutput{}, 0, err
	}
	rows := features(q)
	n := len(rows)
	list, lengths := tensor.New(tensor.F32, n, tokens, l.dim), tensor.New(tensor.I32, n)
	for i, x := range rows[:n] {
		lengths.I32()[i] = int32(1 + int(math.Abs(x[0])*100)%tokens)
		for k := range int(lengths.I32()[i]) {
			u, _ := l.project(turned(x, k))
			for d, v := range u {
				list.F32()[(i*tokens+k)*l.dim+d] = float32(v)
			}
		}
	}
	if ticket != 0 {
		for i, x := range rows {
			for k := range tokens {
				if k >= int(lengths.I32()[i]) {
					l.tickets[ticket] = append(l.tickets[ticket], nil)
					continue
				}
				l.tickets[ticket] = append(l.tickets[ticket], turned(x, k))
			}
		}
	}
	return clip.TokenOutput{Embedding: out, Tokens: list, Lengths: lengths}, ticket, nil
}

func turned(x []float64, k int) []float64 { return slices.Concat(x[k+1:], x[:k+1]) }

func (l *tokenTower) BackwardTokens(ctx context.Context, t clip.Ticket, grad, list *tensor.Tensor) error {
	all := tensor.New(tensor.F32, grad.Shape[0]*(1+tokens), l.dim)
	copy(all.Data[copy(all.Data, grad.Data):], list.Data)
	var rows [][]float64
	kept := tensor.New(tensor.F32, len(l.tickets[t]), l.dim)
	for i, x := range l.tickets[t] {
		if x != nil {
			copy(kept.F32()[len(rows)*l.dim:], all.F32()[i*l.dim:(i+1)*l.dim])
			rows = append(rows, x)
		}
	}
	l.tickets[t] = rows
	return l.Backward(ctx, t, kept)
}

func (l *tokenTower) BackwardNorm(ctx context.Context, t clip.Ticket, grad *tensor.Tensor) (float64, error) {
	l.norms++
	if err := l.Backward(ctx, t, grad); err != nil {
		return 0, err
	}
	return l.GradNorm(ctx)
}

func (l *tokenTower) BackwardTokensNorm(ctx context.Context, t clip.Ticket, grad, list *tensor.Tensor) (float64, error) {
	l.norms++
	if err := l.BackwardTokens(ctx, t, grad, list); err != nil {
		return 0, err
	}
	return l.GradNorm(ctx)
}

// everything implements a loss that takes every input: a weighted sum of dot products between them.
type everything struct {
	clipLoss
	groups [][]int32 // as they came
	lacks  string    // gives no gradient of this input
}

// dot adds weight·a·b to the value, and its gradients to da and db, which may be nil.
func dot(value *float64, weight float64, a, b, da, db []float32) {
	for d := range a {
		*value += weight * float64(a[d]) * float64(b[d])
		if da != nil {
			da[d] += float32(weight * float64(b[d]))
		}
		if db != nil {
			db[d] += float32(weight * float64(a[d]))
		}
	}
}

func (e *everything) Compute(ctx context.Context, q clip.LossRequest) (*clip.LossResult, error) {
	r, err := e.clipLoss.Compute(ctx, q)
	if err != nil {
		return nil, err
	}
	n, dim := q.Image.Shape[0], q.Image.Shape[1]
	r.Gradients = map[string]*tensor.Tensor{}
	for name, in := range q.Inputs {
		if clip.DifferentiableInput(name) && name != e.lacks {
			r.Gradients[name] = tensor.New(tensor.F32, in.Value.Shape...)
		}
	}
	at := func(t *tensor.Tensor, i int) []float32 {
		if t == nil {
			return nil
		}
		return t.F32()[i*dim : (i+1)*dim]
	}
	in := func(name string, i int) []float32 { return at(q.Inputs[name].Value, i) }
	back := func(name string, i int) []float32 { return at(r.Gradients[name], i) }
	groups := q.Inputs[clip.InputGroups].Value.I32()
	e.groups = append(e.groups, slices.Clone(groups))
	for i := range n {
		v, t, dv, dt, w := at(q.Image, i), at(q.Text, i), at(r.DImage, i), at(r.DText, i), 1/float64(n)
		for k := range negatives {
			dot(&r.Value, w*float64(1+k), v, in(clip.InputTextNegatives, i*negatives+k), dv, back(clip.InputTextNegatives, i*negatives+k))
		}
		dot(&r.Value, -w, v, in(clip.InputImageView2, i), dv, back(clip.InputImageView2, i))
		dot(&r.Value, -2*w, v, in(clip.InputTeacherImage, i), dv, nil)
		dot(&r.Value, -3*w, t, in(clip.InputTeacherText, i), dt, nil)
		for k := range int(q.Inputs[clip.InputImageTokens].Lengths.I32()[i]) {
			dot(&r.Value, w, t, in(clip.InputImageTokens, i*tokens+k), dt, back(clip.InputImageTokens, i*tokens+k))
		}
		for k := range int(q.Inputs[clip.InputTextTokens].Lengths.I32()[i]) {
			dot(&r.Value, -w, v, in(clip.InputTextTokens, i*tokens+k), dv, back(clip.InputTextTokens, i*tokens+k))
		}
		for j := range i {
			if groups[i] == groups[j] {
				dot(&r.Value, -w, v, at(q.Image, j), dv, at(r.DImage, j))
			}
		}
	}
	return r, nil
}

// richParts returns parts whose loss takes every input.
func richParts() train.Parts {
	p := parts()
	p.Data = &rich{patterns: patterns{samples}}
	p.Image, p.Text = &tokenTower{linear: newLinear(6, 1)}, &tokenTower{linear: newLinear(6, 2)}
	p.Loss = &everything{clipLoss: clipLoss{s: []float64{1}, g: []float64{0}}}
	p.Inputs, p.Negatives = clip.LossInputs, negatives
	p.Teachers = [2]clip.Encoder{newLinear(6, 8), newLinear(6, 9)}
	return p
}

func richWeights(p train.Parts) []*float64 {
	var all []*float64
	for _, list := range [][]float64{p.Image.(*tokenTower).w, p.Text.(*tokenTower).w, p.Loss.(*everything).s} {
		for i := range list {
			all = append(all, &list[i])
		}
	}
	return all
}

func valuesOf(p train.Parts) (out []float64) {
	for _, w := range richWeights(p) {
		out = append(out, *w)
	}
	return out
}

// What a step adds to a parameter is the derivative of the step's loss, over all inputs of the loss at once.
func TestAStepsGradientIsTheDerivativeOfItsLoss(t *testing.T) {
	cfg := config("")
	cfg.Steps, cfg.MaxGradNorm, cfg.LR = 1, 0, func(int) float64 { return 1 }
	lossWith := func(at int, change float64) float64 {
		p, rec := richParts(), newMemory()
		*richWeights(p)[at] += change
		run(t, cfg, p, rec, train.Hooks{}, nil, "")
		return rec.metrics["train/loss"][1]
	}
	for _, micro := range []int{12, 3} {
		cfg.MicroBatchSize = micro
		p := richParts()
		before := valuesOf(p)
		run(t, cfg, p, newMemory(), train.Hooks{}, nil, "")
		const h = 1e-3
		for at, after := range valuesOf(p) {
			if micro != 12 && at%7 != 0 {
				continue
			}
			got, want := before[at]-after, (lossWith(at, h)-lossWith(at, -h))/(2*h)
			if math.Abs(got-want) > 2e-4+1e-3*math.Abs(want) {
				t.Errorf("micro_batch_size %d, parameter %d: gradient %v, derivative %v", micro, at, got, want)
			}
		}
	}
}

func TestAccumulationGivesTheGradientOfAllInputs(t *testing.T) {
	cfg := config("")
	cfg.Steps = 5
	whole, rec := richParts(), newMemory()
	run(t, cfg, whole, rec, train.Hooks{}, nil, "")
	for _, micro := range []int{1, 3, 4} {
		cfg.MicroBatchSize = micro
		p, again := richParts(), newMemory()
		run(t, cfg, p, again, train.Hooks{}, nil, "")
		for i, w := range valuesOf(whole) {
			if got := valuesOf(p)[i]; math.Abs(got-w) > 1e-5 {
				t.Fatalf("micro_batch_size %d: weight %d is %v, of the whole batch %v", micro, i, got, w)
			}
		}
		for step, want := range rec.metrics["train/grad_norm"] {
			if got := again.metrics["train/grad_norm"][step]; math.Abs(got-want) > 1e-4*want {
				t.Errorf("micro_batch_size %d: the norm of step %d is %v, of the whole batch %v", micro, step, got, want)
			}
		}
		if !slices.EqualFunc(whole.Loss.(*everything).groups, p.Loss.(*everything).groups, slices.Equal) {
			t.Errorf("micro_batch_size %d: the groups differ", micro)
		}
	}
}

func TestWithAllInputsAResumedRunHasTheSameBits(t *testing.T) {
	cfg := config(t.TempDir())
	cfg.MicroBatchSize, cfg.Parallel, cfg.Teacher = 4, true, "weights A"
	whole, rec := richParts(), newMemory()
	whole.Data.(*rich).broken = 7
	run(t, cfg, whole, rec, train.Hooks{}, nil, "")
	dir, stop := t.TempDir(), make(chan struct{})
	cfg.Dir = dir
	first, again := richParts(), newMemory()
	first.Data.(*rich).broken = 7
	res := run(t, cfg, first, again, train.Hooks{Step: func(r train.StepReport) {
		if r.Step == 17 {
			close(stop)
		}
	}}, stop, "")
	second := richParts()
	second.Data.(*rich).broken = 7
	run(t, cfg, second, again, train.Hooks{}, nil, res.CheckpointDir)
	if !slices.Equal(valuesOf(whole), valuesOf(second)) || !maps.Equal(rec.metrics["train/loss"], again.metrics["train/loss"]) {
		t.Error("a resumed run has other bits")
	}
	cfg.Teacher = "weights B"
	other, err := train.New(cfg, richParts(), newMemory(), train.Hooks{})
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Resume(t.Context(), res.CheckpointDir); fault.KindOf(err) != fault.Conflict || !strings.Contains(err.Error(), "teacher") {
		t.Errorf("with another teacher: %v", err)
	}
}

// The second forward of micro-batch m of M has the random numbers of m + M, and only the last backward of a step is
// asked for the norm.
func TestSecondForwardsHaveRandomNumbersOfTheirOwn(t *testing.T) {
	for _, micro := range []int{12, 4} {
		cfg, p := config(""), richParts()
		cfg.Steps, cfg.MicroBatchSize = 2, micro
		run(t, cfg, p, newMemory(), train.Hooks{}, nil, "")
		for name, e := range map[string]*tokenTower{"image": p.Image.(*tokenTower), "text": p.Text.(*tokenTower)} {
			var got, want []string
			for _, q := range e.asked {
				got = append(got, fmt.Sprintf("%d/%d/%d", q.Step, q.Micro, q.Mode))
			}
			for step := range 2 {
				m := 12 / micro
				for _, mode := range []clip.Mode{clip.Embed, clip.Train}[min(1, 2-min(2, m)):] {
					for i := range m {
						want = append(want, fmt.Sprintf("%d/%d/%d", step, i, mode), fmt.Sprintf("%d/%d/%d", step, i+m, mode))
					}
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s, micro_batch_size %d: forwards %v, want %v", name, micro, got, want)
			}
			if e.norms != 2 {
				t.Errorf("%s, micro_batch_size %d: the norm was asked for %d times in 2 steps", name, micro, e.norms)
			}
		}
	}
}

// What a loss does not name is neither asked of the data nor computed.
func TestWhatALossDoesNotTakeIsNotComputed(t *testing.T) {
	p := richParts()
	p.Inputs, p.Loss = nil, parts().Loss
	cfg := config("")
	cfg.Steps = 3
	run(t, cfg, p, newMemory(), train.Hooks{}, nil, "")
	for _, q := range p.Data.(*rich).asked {
		if q.Negatives || q.View2 {
			t.Errorf("the data was asked for %+v", q)
		}
	}
	if a, b := len(p.Image.(*tokenTower).asked), len(p.Text.(*tokenTower).asked); a != 3 || b != 3 || p.Teachers[0].(*linear).forwards+p.Teachers[1].(*linear).forwards != 0 {
		t.Errorf("%d and %d forwards in 3 steps", a, b)
	}
}

// Another sample stands in the place of one that cannot be read, in every respect.
func TestReplacedSamplesAreReplacedInAllViews(t *testing.T) {
	cfg, p := config(""), richParts()
	cfg.Steps = 8
	p.Data.(*rich).broken = 3
	image, text := p.Image.(*tokenTower), p.Text.(*tokenTower)
	run(t, cfg, p, newMemory(), train.Hooks{}, nil, "")
	whole := &rich{patterns: patterns{samples}}
	for step := range cfg.Steps {
		epoch := step / (samples / cfg.BatchSize)
		for at, caption := range text.asked[2*step].Texts {
			index := slices.IndexFunc(captionsOf(t, epoch, train.Order(samples, 0, 0, false)...), func(c string) bool { return c == caption })
			if index%3 == 0 {
				t.Fatalf("step %d trains on sample %d, which cannot be read", step+1, index)
			}
			b, err := whole.Batch(t.Context(), clip.BatchRequest{Indices: []int{index}, Epoch: epoch, Train: true, Negatives: true, View2: true})
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(text.asked[2*step+1].Texts[at*negatives:(at+1)*negatives], b.Negatives[0]) {
				t.Errorf("step %d, place %d: negatives of another sample", step+1, at)
			}
			for view, want := range []*tensor.Tensor{b.Images, b.Images2} {
				if !slices.Equal(image.asked[2*step+view].Images.U8()[at*feats:(at+1)*feats], want.U8()) {
					t.Errorf("step %d, place %d: view %d of another sample", step+1, at, view+1)
				}
			}
		}
	}
}

func TestALossThatKeepsAGradientBackIsNamed(t *testing.T) {
	for _, input := range clip.LossInputs {
		if !clip.DifferentiableInput(input) {
			continue
		}
		p := richParts()
		p.Loss.(*everything).lacks = input
		trainer, err := train.New(config(""), p, newMemory(), train.Hooks{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := trainer.Run(t.Context(), nil); err == nil || !strings.Contains(err.Error(), input) {
			t.Errorf("no gradient of %s: %v", input, err)
		}
	}
}

func TestPartsThatCannotGiveAnInputAreRefused(t *testing.T) {
	for input, spoil := range map[string]func(*train.Parts){
		clip.InputTeacherImage:  func(p *train.Parts) { p.Teachers[0] = nil },
		clip.InputTextNegatives: func(p *train.Parts) { p.Negatives = 0 },
		clip.InputTextTokens:    func(p *train.Parts) { p.Text = newLinear(6, 2) },
	} {
		p := richParts()
		spoil(&p)
		if _, err := train.New(config(""), p, newMemory(), train.Hooks{}); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), input) {
			t.Errorf("%s: %v", input, err)
		}
	}
}

// pushing adds to clipLoss that pictures are pushed away from negatives.
type pushing struct{ clipLoss }

func (l *pushing) Compute(ctx context.Context, q clip.LossRequest) (*clip.LossResult, error) {
	r, err := l.clipLoss.Compute(ctx, q)
	if err != nil {
		return nil, err
	}
	texts, dim := q.Inputs[clip.InputTextNegatives].Value, q.Image.Shape[1]
	r.Gradients = map[string]*tensor.Tensor{clip.InputTextNegatives: tensor.New(tensor.F32, texts.Shape...)}
	if view := q.Inputs[clip.InputImageView2].Value; view != nil {
		r.Gradients[clip.InputImageView2] = tensor.New(tensor.F32, view.Shape...)
	}
	row := func(t *tensor.Tensor, i int) []float32 { return t.F32()[i*dim : (i+1)*dim] }
	for i := range texts.Shape[0] {
		dot(&r.Value, .1, row(q.Image, i/negatives), row(texts, i), row(r.DImage, i/negatives), row(r.Gradients[clip.InputTextNegatives], i))
	}
	return r, nil
}

// Features of captions serve negatives too. Those of pictures do not serve a loss that takes a second view.
func TestRememberedFeaturesServeFurtherInputsWhereTheyCan(t *testing.T) {
	cfg := config("")
	cfg.Steps = 12
	try := func(images, captions train.Features, inputs ...string) ([]float64, int) {
		p := parts()
		text := &watched{locked: locked{p.Text.(*linear), t}}
		p.Data, p.Text, p.Loss = &rich{patterns: patterns{samples}}, text, &pushing{clipLoss{s: []float64{1}, g: []float64{0}}}
		p.Frozen, p.Inputs, p.Negatives = [2]bool{false, true}, inputs, negatives
		image := p.Image.(*linear)
		trainer, err := train.New(cfg, p, newMemory(), train.Hooks{})
		if err != nil {
			t.Fatal(err)
		}
		trainer.Remember(images, captions)
		if _, err := trainer.Run(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		return image.w, text.samples
	}
	want, all := try(nil, nil, clip.InputTextNegatives)
	got, computed := try(nil, newShelf(), clip.InputTextNegatives)
	if !slices.Equal(want, got) || computed >= all {
		t.Errorf("with remembered captions other weights, or %d of %d texts computed", computed, all)
	}
	images := newShelf()
	if try(images, nil, clip.InputTextNegatives, clip.InputImageView2); len(images.rows) > 0 {
		t.Errorf("%d pictures are remembered beside a second view", len(images.rows))
	}
}

// wordy counts the words of texts as their tokens.
type wordy struct{ *tokenTower }

func (w wordy) CountTokens(_ context.Context, _ *clip.EncoderConfig, texts []string) (tokens []int, limit int, err error) {
	for _, text := range texts {
		tokens = append(tokens, len(strings.Fields(text))+2)
	}
	return tokens, 4, nil
}

// A negative that is cut is told like a caption that is.
func TestNegativesAreCountedAsCaptions(t *testing.T) {
	cfg, p := config(""), richParts()
	cfg.Steps = 1
	p.Text = wordy{p.Text.(*tokenTower)}
	c := run(t, cfg, p, newMemory(), train.Hooks{}, nil, "").Counts
	if c.Captions != 12*(1+negatives) || c.Cut != 12 || c.Longest != 6 { // "nor 13 in 0" of each sample
		t.Errorf("counted %+v", c)
	}
}
