package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"tandem/core/clip"
	"tandem/core/experiment/collective"
	"tandem/core/fault"
	"tandem/core/tensor"
)

// MicroBatch returns how many pairs of a batch are forwarded at a time where so many ranks share it: micro where that
// is possible, batch/ranks where micro is 0 or larger. remark tells people when it is other than one rank would have; else
// it is "". A batch that cannot be shared yields fault.Invalid.
func MicroBatch(batch, micro, ranks int) (size int, remark string, err error) {
	if batch%ranks != 0 {
		return 0, "", fault.New(fault.Invalid, "a batch of %d cannot be shared equally by %d ranks", batch, ranks).
			WithPath("train.batch_size").WithHint("choose a multiple of %d", ranks)
	}
	share := batch / ranks
	size = micro
	if micro == 0 || ranks > 1 && micro > share {
		size = share
	}
	if size < 1 || batch%size != 0 {
		return 0, "", fault.New(fault.Invalid, "micro_batch_size %d does not divide batch_size %d", size, batch).
			WithPath("train.micro_batch_size")
	}
	if share%size != 0 {
		return 0, "", fault.New(fault.Invalid, "%d micro-batches of %d cannot be shared equally by %d ranks", batch/size, size, ranks).
			WithPath("train.micro_batch_size").WithHint("micro_batch_size: %d", share)
	}
	if ranks > 1 && size != micro {
		remark = fmt.Sprintf("micro_batch_size is %d, the share of each of %d ranks in a batch of %d", size, ranks, batch)
	}
	return size, remark, nil
}

// ranks says which part of each step this rank does, and holds what it exchanges with the others.
type ranks struct {
	rank, size   int
	first, count int                 // its micro-batches: first … first+count-1
	sums         [2][]*tensor.Tensor // by tower: its buckets, with the gradients of all ranks from the backward pass to the step
	lossSums     [][]*tensor.Tensor  // the same of each loss, where ranks share rows out
	tokens       *tokenCounts        // of the step's batch, of all ranks
	last         [4]uint64           // the bits of norms and loss of the last step, which are the same on all ranks
	remark       string              // of MicroBatch
	alike        bool                // the error that ends the run is one of all ranks
}

var towerNames = [firstTeacher]string{"image", "text"}

// join finds this rank's part, and checks that its plugins can do it.
func (t *Trainer) join(g collective.Group) error {
	r := &t.ranks
	r.rank, r.size = g.Rank(), g.Size()
	r.count = t.micro / r.size
	r.first = r.rank * r.count
	if !r.many() {
		return nil
	}
	if r.rank > 0 {
		t.rec = unrecorded{}
		t.hooks.Counted, t.hooks.Checkpointed, t.hooks.Pruned = nil, nil, nil
	}
	if t.parts.Exchanges == [2]bool{true, true} {
		t.cfg.Parallel = false
	}
	for i, name := range towerNames {
		_, ok := t.encoders()[i].(clip.BucketedEncoder)
		if !t.frozen(i) && (!ok || len(t.parts.Buckets[i]) == 0 && !t.parts.Groups[i]) {
			return fault.New(fault.Invalid, "the encoder lacks the capability %s, which training on %d ranks takes", clip.CapBuckets, r.size).
				WithPath(name + ".plugin").WithHint("train it on one rank, or freeze it")
		}
		if n := len(t.parts.Buckets[i]); n > 0 && t.parts.Groups[i] {
			return fault.New(fault.Internal, "the encoder was given a group in which it adds gradients up by itself, and has %d buckets all the same", n).
				WithPath(name + ".plugin").WithHint("the plugin is at fault: with a communicator its bucket_sizes must be empty")
		}
		if !t.frozen(i) {
			r.sums[i] = make([]*tensor.Tensor, len(t.parts.Buckets[i]))
		}
	}
	return t.checkRows()
}

// many reports whether there are other ranks.
func (r *ranks) many() bool { return r.size > 1 }

// has reports whether a micro-batch is this rank's.
func (r *ranks) has(number int) bool { return number >= r.first && number < r.first+r.count }

// own returns this rank's micro-batches of a batch.
func (r *ranks) own(micros microBatches) microBatches {
	if len(micros) == 0 {
		return nil
	}
	return micros[r.first : r.first+r.count]
}

// note keeps what must be the same on all ranks until they next meet.
func (r *ranks) note(squares norms, loss float64) {
	for i, v := range squares {
		r.last[i] = math.Float64bits(v)
	}
	r.last[3] = math.Float64bits(loss)
}

// word holds what a rank tells the others when they meet.
type word struct {
	Failure collective.Report  // why it cannot go on
	Stop    bool               `json:",omitempty"` // a stop was asked for
	Broken  bool               `json:",omitempty"` // its evaluation was broken off
	Faults  []clip.SampleFault `json:",omitempty"` // of its part of the batch
	Tokens  *tokenCounts       `json:",omitempty"` // of its part of the batch
	Last    [4]uint64          // ranks.last
}

// meet gives this rank's word, with the error that it met, and returns the words of all. An error of any is one of all.
func (t *Trainer) meet(ctx context.Context, mine word, err error) ([]word, error) {
	if err != nil && fault.KindOf(err) == fault.Canceled {
		return nil, err // the others hear of it by Abort
	}
	mine.Failure, mine.Last = collective.ReportOf(err), t.ranks.last
	words, lost := collective.GatherValues(ctx, t.cfg.Group, mine)
	if lost != nil {
		return nil, errors.Join(err, lost)
	}
	failures := make([]collective.Report, len(words))
	for i, w := range words {
		failures[i] = w.Failure
	}
	if err := collective.Settle(t.cfg.Group, err, failures); err != nil {
		return nil, t.alike(err)
	}
	for rank, w := range words {
		if w.Last != words[0].Last {
			return nil, t.alike(fault.New(fault.Internal, "ranks have drifted apart at step %d: norms and loss of rank 0 are %s, of rank %d %s",
				t.state.Step, sayBits(words[0].Last), rank, sayBits(w.Last)).
				WithHint("give all ranks processors of one kind, the same number of threads and the same plugins"))
		}
	}
	return words, nil
}

func sayBits(bits [4]uint64) string {
	var values [4]float64
	for i, b := range bits {
		values[i] = math.Float64frombits(b)
	}
	return fmt.Sprint(values)
}

// agree returns an error on every rank when any has one.
func (t *Trainer) agree(ctx context.Context, err error) error {
	if !t.ranks.many() {
		return err
	}
	_, err = t.meet(ctx, word{}, err)
	return err
}

// alike marks an error as one that all ranks have, as it follows from what they all know: none need be told.
func (t *Trainer) alike(err error) error {
	t.ranks.alike = err != nil
	return err
}

// runTogether runs the training as one of several ranks: it ends when another is gone, and tells the others when it
// fails alone.
func (t *Trainer) runTogether(ctx context.Context, stop <-chan struct{}) (Result, error) {
	during, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	group := t.cfg.Group
	go func() {
		select {
		case <-group.Lost():
			cancel(group.Cause())
		case <-during.Done():
		}
	}()
	err := t.tellShare()
	var res Result
	if err == nil {
		res, err = t.runSteps(during, stop)
	}
	if err == nil {
		err = t.agree(during, nil) // what came of the last step
	}
	for _, list := range append(t.ranks.lossSums, t.ranks.sums[:]...) {
		freeAll(list)
	}
	if err == nil || t.ranks.alike {
		return res, err
	}
	kind := fault.KindOf(err)
	if cause := group.Cause(); cause != nil && (kind == fault.Canceled || kind == fault.Unavailable) {
		return res, fault.New(fault.Unavailable, "%w", cause).WithOp(fmt.Sprintf("train: step %d", t.state.Step+1))
	}
	group.Abort(err)
	return res, err
}

// tellShare records what the ranks made of the size of micro-batches, when a run begins.
func (t *Trainer) tellShare() error {
	if t.ranks.remark == "" || t.state.Step > 0 {
		return nil
	}
	return t.rec.Event("info", "micro_batch", t.ranks.remark, "")
}

// checkpointTogether lets rank 0 write a checkpoint while the others wait.
func (t *Trainer) checkpointTogether(ctx context.Context) error {
	var err error
	if t.ranks.rank == 0 {
		err = t.checkpointAlone(ctx)
	}
	if err := t.agree(ctx, err); err != nil || t.ranks.rank == 0 || t.cfg.Dir == "" {
		return err
	}
	t.ckptDir, t.dirty = CheckpointIn(t.cfg.Dir, t.state.Step), false
	return nil
}

type stopKey struct{}

// StopOf returns the channel that is closed when a stop was asked for on this rank during Hooks.Evaluate; nil where there is
// one rank, whose stop cancels the context. Ranks that agree among themselves to break the evaluation off all return
// fault.Canceled.
func StopOf(ctx context.Context) <-chan struct{} {
	stop, _ := ctx.Value(stopKey{}).(<-chan struct{})
	return stop
}

// evaluateTogether measures the model on all ranks. The stop of one does not cancel its context, since others may be
// waiting for its share.
func (t *Trainer) evaluateTogether(ctx context.Context, stop <-chan struct{}) (stopped bool, err error) {
	own := t.hooks.Evaluate(context.WithValue(ctx, stopKey{}, stop), t.state.Step)
	mine := word{Stop: isClosed(stop), Broken: ctx.Err() == nil && fault.KindOf(own) == fault.Canceled}
	if mine.Broken {
		own = nil
	}
	words, err := t.meet(ctx, mine, own)
	switch {
	case err != nil:
	case !slices.ContainsFunc(words, func(w word) bool { return w.Broken }):
		t.state.Unevaluated = false
		return false, nil
	case slices.ContainsFunc(words, func(w word) bool { return w.Stop }):
		t.dirty = t.dirty || !t.state.Unevaluated
		t.state.Unevaluated = true
		return true, t.checkpoint(ctx)
	default:
		err = t.alike(fault.New(fault.Canceled, "it was broken off"))
	}
	return false, withOp(err, fmt.Sprintf("evaluate: step %d", t.state.Step))
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// unrecorded implements the recorder of ranks other than 0.
type unrecorded struct{}

func (unrecorded) Metrics(int, []clip.Metric) error                         { return nil }
func (unrecorded) Predictions(int, string, string, []clip.Prediction) error { return nil }
func (unrecorded) Event(_, _, _, _ string) error                            { return nil }
func (unrecorded) Checkpoint(int, string) error                             { return nil }
func (unrecorded) Flush(context.Context) error                              { return nil }
