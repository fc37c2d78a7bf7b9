package sample

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/media/vision"
	edit "tandem/core/media/vision/augment"
	"tandem/core/random"
	"tandem/core/tensor"
)

// cacheBytes limits the memory that decoded pictures may take in one process. Datasets fit that are so small
// that decoding matters beside their training step.
var cacheBytes int64 = 256 << 20

// reader delivers the batches of a set.
type reader struct {
	*Set
	size  int
	seed  uint64
	crop  *vision.CropParams
	flip  float64
	edits edit.Config
	tools chan *tool // one per decoder that may run at a time
	cache []atomic.Pointer[vision.Picture]
	used  atomic.Int64
	bad   sync.Map // index → error, so that a broken file is read once
	disk  *keeper  // nil: no pictures are kept there
	// patience is how long a file is waited for that was there when the set was opened.
	patience time.Duration
	waiting  atomic.Int32 // workers that wait for a file
}

// tool holds what one worker uses at a time.
type tool struct {
	vision.Resizer
	edit.Editor
	blob []byte // a kept picture
}

func newReader(s *Set, c clip.DatasetConfig) *reader {
	r := &reader{Set: s, size: c.ImageSize, seed: c.Seed, crop: cropParams(c.Augment), edits: edits(c.Augment),
		tools: make(chan *tool, max(1, c.Threads)), cache: make([]atomic.Pointer[vision.Picture], s.Len()),
		patience: filePatience}
	if r.crop != nil {
		r.flip = c.Augment.HFlip
	}
	var remarks []string
	r.disk, remarks = newKeeper(s, c)
	s.Remarks = append(s.Remarks, remarks...)
	for range cap(r.tools) {
		r.tools <- new(tool)
	}
	return r
}

func (r *reader) batch(ctx context.Context, q clip.BatchRequest) (*clip.Batch, error) {
	if q.Negatives && r.Negatives == 0 {
		return nil, fault.New(fault.Invalid, "the dataset has no negatives with these settings").WithPath("with.negatives")
	}
	n, each := len(q.Indices), 3*r.size*r.size
	for _, i := range q.Indices {
		if i < 0 || i >= r.Len() {
			return nil, outOfRange(i, r.Len())
		}
	}
	var images, second *tensor.Tensor
	var err error
	if !q.NoImages {
		if images, err = r.place(q.Into, n); err != nil {
			return nil, err
		}
	}
	if !q.NoImages && q.View2 {
		if second, err = r.place(q.Into2, n); err != nil {
			return nil, err
		}
	}
	faults := make([]error, n) // why a position could not be filled
	sizes := make([][2]int, n)
	if images != nil {
		err := r.each(ctx, n, func(at int, tool *tool) (err error) {
			views := [][]byte{images.U8()[at*each:][:each]}
			if second != nil {
				views = append(views, second.U8()[at*each:][:each])
			}
			faults[at], err = r.fill(ctx, views, q.Indices[at], q, tool, &sizes[at])
			return err
		})
		if err != nil {
			return nil, err
		}
	} else if err := checkCanceled(ctx); err != nil {
		return nil, err
	}
	b := &clip.Batch{Images: images, Images2: second, Captions: make([]string, n), Keys: make([]string, n), Groups: make([]int64, n),
		Labels: map[string][]int32{}}
	for _, t := range r.Targets {
		b.Labels[t.Name] = make([]int32, n)
	}
	if !q.Train {
		b.All = make([][]string, n)
	}
	if q.Sizes && images != nil && !r.Drawn {
		b.Sizes = sizes
	}
	for at, i := range q.Indices {
		x := r.At(i)
		b.Keys[at], b.Groups[at] = x.Key, x.Group
		if q.Negatives {
			b.Negatives = append(b.Negatives, r.negatives(i, q.Epoch))
		}
		if q.Train {
			b.Captions[at] = r.caption(i, q.Epoch)
		} else {
			b.Captions[at], b.All[at] = x.Captions[0], x.Captions
		}
		for k, t := range r.Targets {
			b.Labels[t.Name][at] = -1
			if k < len(x.Labels) {
				b.Labels[t.Name][at] = x.Labels[k]
			}
		}
		if faults[at] != nil {
			b.Faults = append(b.Faults, clip.SampleFault{Index: i, Key: x.Key, Msg: faults[at].Error(), Reason: fault.ReasonOf(faults[at])})
		}
	}
	return b, nil
}

// place returns where n pictures go: into, or memory of their own.
func (r *reader) place(into *tensor.Tensor, n int) (*tensor.Tensor, error) {
	if into == nil {
		return tensor.New(tensor.U8, n, r.size, r.size, 3), nil
	}
	if want := (tensor.Shape{n, r.size, r.size, 3}); into.DType != tensor.U8 || !into.Shape.Equal(want) {
		return nil, fault.New(fault.Invalid, "pictures go into %v %v, want u8 %v", into.DType, into.Shape, want)
	}
	return into, nil
}

// each calls do for 0 … n-1 with as many tools as are free. Of several errors it returns the first by position,
// so that the message does not depend on timing.
func (r *reader) each(ctx context.Context, n int, do func(at int, tool *tool) error) error {
	var next atomic.Int64
	var failed atomic.Bool
	errs := make([]error, n)
	work := func(tool *tool) {
		defer func() { r.tools <- tool }()
		for !failed.Load() {
			at := int(next.Add(1)) - 1
			if at >= n {
				return
			}
			if errs[at] = do(at, tool); errs[at] != nil {
				failed.Store(true)
			}
		}
	}
	var wg sync.WaitGroup
	for started := 0; started < min(n, cap(r.tools)); started++ {
		if started == 0 {
			select {
			case tool := <-r.tools:
				wg.Go(func() { work(tool) })
			case <-ctx.Done():
				return checkCanceled(ctx)
			}
			continue
		}
		select { // more only when no other batch has them
		case tool := <-r.tools:
			wg.Go(func() { work(tool) })
		default:
		}
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// fill writes the picture of sample i to each of its views. The first error says that the picture cannot be read, and
// all are black; the second error ends the batch.
func (r *reader) fill(ctx context.Context, views [][]byte, i int, q clip.BatchRequest, tool *tool, size *[2]int) (unreadable, err error) {
	if err := checkCanceled(ctx); err != nil {
		return nil, err
	}
	p, free, err := r.picture(ctx, i, tool)
	switch {
	case err == nil:
		*size = [2]int{p.W, p.H}
		for view, dst := range views {
			r.transform(dst, p, i, view, q, tool)
		}
		if free {
			vision.Recycle(p)
		}
		return nil, nil
	case fault.KindOf(err) == fault.Canceled:
		return nil, err
	case endsBatch(err):
		f := fault.New(fault.KindOf(err), "sample %d (%s): %w", i, r.At(i).Key, err).
			WithHint("nothing is wrong with the sample: when the store gives it again, go on with run --resume")
		if f.Kind == fault.Conflict {
			f.WithHint("leave the data alone while a run reads it, and start again")
		}
		return nil, f
	case r.isTransient(err):
		return nil, fault.New(fault.Unavailable, "sample %d (%s): %w (tried again for %v)", i, r.At(i).Key, err, r.patience).
			WithHint("the picture was there when the dataset was opened: mend the file system, then go on with run --resume")
	case r.Fail:
		return nil, fault.New(fault.KindOf(err), "sample %d (%s): %w", i, r.At(i).Key, err).
			WithHint("mend or remove the file, or set on_error: skip")
	}
	for _, dst := range views {
		clear(dst)
	}
	return err, nil
}

// transform writes a view of a picture to dst. Each view has random numbers of its own, so that the first is the same
// with a second and without.
func (r *reader) transform(dst []byte, p vision.Picture, i, view int, q clip.BatchRequest, tool *tool) {
	purpose := func(name string) string {
		if view > 0 {
			return fmt.Sprintf("%s %d", name, view+1)
		}
		return name
	}
	if !q.Train {
		tool.Evaluate(dst, p, r.size)
		return
	}
	if r.crop == nil {
		tool.Evaluate(dst, p, r.size)
	} else {
		tool.Resizer.Augment(dst, p, r.size, random.New(r.seed, purpose("augment"), q.Epoch, i), *r.crop, r.flip)
	}
	if r.Alter != nil {
		r.Alter(dst, r.size, random.New(r.seed, purpose("alter"), q.Epoch, i))
	}
	tool.Editor.Augment(dst, r.size, r.size, r.edits, func(name string) *random.Stream { return random.New(r.seed, purpose(name), q.Epoch, i) })
}

func (r *reader) caption(i, epoch int) string {
	s := random.New(r.seed, "caption", epoch, i)
	if r.Caption != nil {
		return r.Caption(i, s)
	}
	all := r.At(i).Captions
	return all[s.IntN(len(all))]
}

// negatives draws the negatives of sample i. A pool of as many as are wanted keeps its order, a larger one is drawn
// from anew in each epoch, and a smaller one repeats itself.
func (r *reader) negatives(i, epoch int) []string {
	s := random.New(r.seed, "negatives", epoch, i)
	if r.Negative != nil {
		return r.Negative(i, s)
	}
	pool := r.At(i).Negatives
	out := make([]string, r.Negatives)
	if len(pool) > len(out) {
		for k, at := range s.Perm(len(pool))[:len(out)] {
			out[k] = pool[at]
		}
		return out
	}
	for k := range out {
		out[k] = pool[k%len(pool)]
	}
	return out
}

// picture returns the picture of sample i, decoded or as it was kept, and holds it in memory while there is room. Otherwise
// free says that nobody else holds it; until the tool's next picture it is the caller's. It remembers what is wrong with a
// file's content, but not what kept the file from being read.
func (r *reader) picture(ctx context.Context, i int, tool *tool) (p vision.Picture, free bool, err error) {
	if p := r.cache[i].Load(); p != nil {
		return *p, false, nil
	}
	if err, ok := r.bad.Load(i); ok {
		return p, false, err.(error)
	}
	found := false
	if r.disk != nil {
		p, found = r.disk.find(i, tool)
	}
	if !found {
		p, err = r.open(ctx, i)
		if err == nil && r.disk != nil {
			p, err = r.disk.keep(i, p, tool)
		}
		if err != nil && fault.KindOf(err) != fault.Canceled && !isSystemError(err) && !endsBatch(err) {
			r.bad.Store(i, err)
		}
	}
	if err != nil || r.Direct {
		return p, false, err
	}
	size := int64(3 * p.W * p.H)
	if r.used.Add(size) > cacheBytes {
		r.used.Add(-size)
		return p, true, nil
	}
	if found {
		p.Pix = bytes.Clone(p.Pix) // it may be the tool's
	}
	held := p
	if !r.cache[i].CompareAndSwap(nil, &held) {
		r.used.Add(-size)
	}
	return p, false, nil
}
