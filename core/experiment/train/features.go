package train

import (
	"context"
	"math/bits"
	"slices"
	"strconv"
	"sync/atomic"

	"tandem/core/clip"
	"tandem/core/experiment/mixture"
	"tandem/core/fault"
	"tandem/core/tensor"
)

// Features remembers the embeddings of a tower that does not change, by the name of a sample: the index
// of a picture, the text of a caption. Its methods may be called from several goroutines.
type Features interface {
	// Dim returns D, the width of an embedding.
	Dim() int
	// Has reports whether there is an embedding of that name. It may be gone when Get is called.
	Has(name string) bool
	// Get copies an embedding to row, f32 [D]. It returns false when there is none.
	Get(name string, row []float32) bool
	// Put may store an embedding.
	Put(name string, row []float32)
}

// Remember makes the trainer take the embeddings of frozen towers from f where f has them, and store in f those
// that it computes; nil stands for a tower that is computed every time. The towers must be fixed
// (clip.EncoderInfo.Fixed), and for the image tower the pictures too (clip.DatasetInfo.Fixed). A run's numbers
// are the same with and without. It must be called before Run.
//
// A tower for which WhyComputed has a reason is computed every time all the same.
func (t *Trainer) Remember(image, text Features) {
	t.remember = [2]Features{image, text}
	for tower := range t.remember {
		if t.WhyComputed(tower) != "" {
			t.remember[tower] = nil
		}
	}
}

// WhyComputed says why a tower, 0 for images or 1 for texts, is computed every time whatever is remembered: the loss
// takes something of it, or of its pictures, that features do not hold. It returns "" when there is no reason.
func (t *Trainer) WhyComputed(tower int) string {
	for _, input := range [][]string{
		{clip.InputImageTokens, clip.InputImageView2, clip.InputTeacherImage}, {clip.InputTextTokens}}[tower] {
		if t.wants(input) {
			return "the loss takes " + input
		}
	}
	return ""
}

// micro holds a part of a step's batch.
type micro struct {
	*clip.Batch
	id, id2 uint64 // of its pictures and those of the second view, for clip.ForwardRequest
	epochs  []int  // how often the source of each sample was gone through before
	indices []int
	lost    []clip.SampleFault // of samples that could not be read, whose places others have
	// With features of pictures, Images is nil. shown are then the pictures of those samples whose
	// features were not known, and known is f32 [B, D], in which the rows of these are missing.
	shown []shown
	known *tensor.Tensor
	// elsewhere says that another rank has the samples. Only what all ranks know of them is here: indices, epochs, Faults,
	// lost, and Captions and Groups where the loss asks for groups.
	elsewhere bool
}

// pictures counts the batches of pictures of this process.
var pictures atomic.Uint64

// shown holds the pictures of some samples of a batch.
type shown struct {
	at     []int // the samples, by place in the batch
	images *tensor.Tensor
}

func (m *micro) free() {
	m.Images.Free()
	m.Images2.Free()
	for _, s := range m.shown {
		s.images.Free()
	}
}

// ask returns the request for all that training takes of samples.
func (t *Trainer) ask(indices []int) clip.BatchRequest {
	return clip.BatchRequest{Indices: indices, Train: true,
		Negatives: t.wants(clip.InputTextNegatives), View2: t.wants(clip.InputImageView2)}
}

// ofEpochs is implemented by data whose samples can be of several epochs in one batch.
type ofEpochs interface {
	BatchOf(ctx context.Context, q clip.BatchRequest, epochs []int) (*clip.Batch, error)
}

// data asks for samples of epochs.
func (t *Trainer) data(ctx context.Context, q clip.BatchRequest, epochs []int) (*clip.Batch, error) {
	if d, ok := t.parts.Data.(ofEpochs); ok {
		return d.BatchOf(ctx, q, epochs)
	}
	q.Epoch = epochs[0] // one source: no batch goes on into another round
	return t.parts.Data.Batch(ctx, q)
}

// batch asks the data and checks that the answer has what was asked for.
func (t *Trainer) batch(ctx context.Context, q clip.BatchRequest, epochs []int) (*clip.Batch, error) {
	b, err := t.data(ctx, q, epochs)
	if err != nil {
		return nil, err
	}
	for i := range q.Indices {
		if q.Negatives && (i >= len(b.Negatives) || len(b.Negatives[i]) != t.parts.Negatives) {
			err = fault.New(fault.Internal, "the dataset gives sample %d other than %d negatives", q.Indices[i], t.parts.Negatives)
		}
	}
	if q.View2 && !q.NoImages && b.Images2 == nil {
		err = fault.New(fault.Internal, "the dataset gives no second view")
	}
	if err != nil {
		freeAll([]*tensor.Tensor{b.Images, b.Images2})
		return nil, err
	}
	return b, nil
}

// fetchMicro asks for samples, without pictures for those that will not need them.
func (t *Trainer) fetchMicro(ctx context.Context, picks []mixture.Pick, recent *recent) (*micro, error) {
	m := &micro{id: pictures.Add(2)}
	m.id2 = m.id - 1
	for _, x := range picks {
		m.indices, m.epochs = append(m.indices, x.Index), append(m.epochs, x.Epoch)
	}
	indices := m.indices
	f, q := t.remember[0], t.ask(indices)
	var err error
	if f == nil {
		m.Batch, err = t.batch(ctx, q, m.epochs)
		return m, err
	}
	var missing []int
	for at, index := range indices {
		if !recent.has(index) && !f.Has(strconv.Itoa(index)) {
			missing = append(missing, at)
		}
	}
	q.NoImages = len(missing) < len(indices)
	if m.Batch, err = t.batch(ctx, q, m.epochs); err != nil {
		return nil, err
	}
	images := m.Images
	m.Images = nil
	if !q.NoImages {
		m.shown = []shown{{missing, images}}
	} else if images.Free(); len(missing) > 0 { // a dataset may send pictures all the same
		if err := t.show(ctx, m, missing); err != nil {
			return nil, err
		}
	}
	for _, at := range missing {
		if !m.isUnreadable(indices[at]) {
			recent.add(indices[at])
		}
	}
	return m, nil
}

// show fetches pictures of some samples of m, with their captions.
func (t *Trainer) show(ctx context.Context, m *micro, at []int) error {
	if len(at) == 0 {
		return nil
	}
	var indices, epochs []int
	for _, p := range padToPowerOfTwo(at, len(m.indices)) {
		indices, epochs = append(indices, m.indices[p]), append(epochs, m.epochs[p])
	}
	b, err := t.data(ctx, clip.BatchRequest{Indices: indices, Train: true}, epochs)
	if err != nil {
		return err
	}
	for i, p := range at {
		m.Captions[p], m.Keys[p] = b.Captions[i], b.Keys[i]
	}
	for _, f := range b.Faults {
		if !slices.Contains(m.Faults, f) { // padding repeats samples
			m.Faults = append(m.Faults, f)
		}
	}
	m.shown = append(m.shown, shown{at, b.Images})
	return nil
}

// padToPowerOfTwo repeats the last element of a list until its length is a power of two, or limit, because a tower
// compiles a program for every batch size.
func padToPowerOfTwo[T any](list []T, limit int) []T {
	n := max(len(list), min(limit, 1<<bits.Len(uint(len(list)-1))))
	out := slices.Clone(list)
	for len(out) < n {
		out = append(out, list[len(list)-1])
	}
	return out
}

// recall reads what is known of m's pictures, and fetches those that are neither known nor shown. What was
// known when the batch was fetched may have turned out to be damaged.
func (t *Trainer) recall(ctx context.Context, m *micro) error {
	f := t.remember[0]
	if f == nil {
		return nil
	}
	m.known = tensor.New(tensor.F32, len(m.indices), f.Dim())
	var missing []int
	for at, index := range m.indices {
		if !f.Get(strconv.Itoa(index), row(m.known, at)) {
			missing = append(missing, at)
		}
	}
	left := slices.Clone(missing)
	for _, s := range m.shown {
		left = slices.DeleteFunc(left, func(at int) bool { return slices.Contains(s.at, at) })
	}
	return t.show(ctx, m, left)
}

// embedImages returns m's embeddings. Those that are not known are computed and remembered.
func (t *Trainer) embedImages(ctx context.Context, m *micro, q clip.ForwardRequest) (*tensor.Tensor, error) {
	f := t.remember[0]
	for _, s := range m.shown {
		q.Images = s.images
		out, _, err := t.parts.Image.Forward(ctx, q)
		if err != nil {
			return nil, err
		}
		for i, at := range s.at {
			copy(row(m.known, at), row(out, i))
			if index := m.indices[at]; !m.isUnreadable(index) {
				f.Put(strconv.Itoa(index), row(out, i))
			}
		}
		out.Free()
	}
	return m.known, nil
}

// embedTexts returns the embeddings of captions. Each distinct caption that is not known is computed once.
func (t *Trainer) embedTexts(ctx context.Context, q clip.ForwardRequest) (*tensor.Tensor, error) {
	f, texts := t.remember[1], q.Texts
	known := tensor.New(tensor.F32, len(texts), f.Dim())
	places := map[string][]int{} // of what is not known
	var missing []string
	for at, text := range texts {
		if places[text] == nil && f.Get(text, row(known, at)) {
			continue
		}
		if places[text] == nil {
			missing = append(missing, text)
		}
		places[text] = append(places[text], at)
	}
	if len(missing) == 0 {
		return known, nil
	}
	q.Texts = padToPowerOfTwo(missing, len(texts))
	out, _, err := t.parts.Text.Forward(ctx, q)
	if err != nil {
		return nil, err
	}
	defer out.Free()
	for i, text := range missing {
		for _, at := range places[text] {
			copy(row(known, at), row(out, i))
		}
		f.Put(text, row(out, i))
	}
	return known, nil
}

// row returns row i of a tensor f32 [N, D].
func row(t *tensor.Tensor, i int) []float32 {
	d := t.Shape[1]
	return t.F32()[i*d : (i+1)*d]
}

// recent holds the samples whose pictures were fetched for the last few steps and may not have been embedded
// yet. Only the prefetcher uses it.
type recent struct {
	steps []map[int]bool // the newest last
	keep  int
}

// next begins another step.
func (r *recent) next() {
	r.steps = append(r.steps, map[int]bool{})
	if len(r.steps) > r.keep {
		r.steps = r.steps[1:]
	}
}

func (r *recent) add(index int) { r.steps[len(r.steps)-1][index] = true }

func (r *recent) has(index int) bool {
	return slices.ContainsFunc(r.steps, func(step map[int]bool) bool { return step[index] })
}
