// Package train runs the step loop: it takes batches from a dataset, drives both towers and the loss
// through forward, backward and step, evaluates and checkpoints on schedule, and records in a
// clip.Recorder what happened.
//
// It works on the interfaces of core/clip alone and does not know processes, YAML or SQL. Given the
// same config, seed and plugins it makes the same calls in the same order, so that a run that is
// stopped after any checkpoint and resumed gives the bits of one that was not.
package train

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tandem/core/clip"
	"tandem/core/experiment/collective"
	"tandem/core/experiment/mixture"
	"tandem/core/fault"
	"tandem/core/results/metric"
)

// Config configures a training run. Counts of steps are optimiser steps.
type Config struct {
	Steps          int // total, > 0
	BatchSize      int // pairs contrasted at a time, ≥ 2
	MicroBatchSize int // pairs forwarded at a time; divides BatchSize; 0: BatchSize, of several ranks the share of one (MicroBatch)
	Seed           uint64
	// Sources describes the training set, whose samples are those of all of them together.
	Sources     []mixture.Source
	LR          func(step int) float64 // learning rate of step 0, 1, …, Steps-1
	MaxGradNorm float64                // global norm over towers and loss; 0: no clipping
	// Parallel drives both towers at once; otherwise one after the other, each with all threads.
	Parallel bool
	// DeduplicateCaptions computes equal texts of a micro-batch once, forward and backward: the same gradient up to
	// the order of its sums. An encoder that draws random numbers gives equal texts one draw.
	DeduplicateCaptions bool

	LogEvery        int    // steps between records; ≥ 1
	EvalEvery       int    // steps between evaluations; 0: at the end only
	CheckpointEvery int    // steps between checkpoints; 0: at the end and on a stop only
	KeepCheckpoints int    // newest ones kept; 0: all
	Dir             string // folder of the checkpoints; "" for none at all
	Run             string // whose checkpoints they are
	Prefetch        int    // batches fetched ahead; 0: 2
	// Teacher names the content of the teachers' weights, so that a run goes on with those that it began with.
	Teacher string
	// MaxBadShare limits the share of samples that cannot be read, 0 … 1; beyond it the run ends.
	MaxBadShare float64
	// Group is the ranks that train together, each with a Trainer and plugins of its own, of equal Config and Parts but
	// for Dir, which need be a folder that all can read only to resume. nil: this one alone.
	//
	// Every rank forwards its share of the micro-batches, with their numbers in the whole; the loss is computed of the
	// whole batch on every rank; gradients are added up, so that all take the same step. Rank 0 alone records, calls the
	// hooks Counted, Checkpointed and Pruned, and writes checkpoints.
	Group collective.Group
}

// Parts holds the plugins of a run, configured.
type Parts struct {
	Data        clip.Dataset
	Image, Text clip.Encoder
	Loss        clip.Loss
	// Frozen says of image and text tower whether nothing in it is trained. It then only runs forward.
	Frozen [2]bool
	// Inputs lists what the loss takes beside image and text (clip.Descriptor.Inputs). Nothing else is computed.
	Inputs []string
	// Teachers holds the encoders of clip.InputTeacherImage and clip.InputTeacherText, where the loss takes these.
	// They only run forward, in mode Eval.
	Teachers  [2]clip.Encoder
	Negatives int // texts that the data gives each sample as negatives
	// Buckets holds clip.EncoderInfo.BucketSizes of both towers. Several ranks train encoders with clip.CapBuckets only.
	Buckets [2][]int
	// Groups says of both towers whether they add gradients up over the ranks by themselves (clip.Communicator). They have no buckets.
	Groups [2]bool
	// LossRows says that every loss has clip.CapRows, and LossBuckets holds clip.LossInfo.BucketSizes of each, in the order of
	// objective.Members.
	LossRows    bool
	LossBuckets [][]int
	// Exchanges says of both towers whether they exchange with other ranks while they compute (clip.Exchanger), by means of
	// Config.Group. Nothing else is exchanged then, and two such towers compute one after the other.
	Exchanges [2]bool
	// Together says that the image tower normalises all samples of a step together (clip.EncoderConfig.SyncNorm): it gets the
	// micro-batches of a step as parts of one request.
	Together bool
	// Ahead says that the image tower makes use of the next pictures while it computes: it has
	// clip.CapPrefetch and computes on hardware of its own.
	Ahead bool
}

// Hooks holds functions of the caller; each may be nil.
type Hooks struct {
	// Step runs after every step.
	Step func(StepReport)
	// Evaluate measures the model after a step and records what it finds. All ranks have it or none, and all are called
	// after the same steps. A stop cancels ctx where there is one rank; several have to agree on it (StopOf).
	Evaluate func(ctx context.Context, step int) error
	// Checkpointed runs after a checkpoint was recorded and before older ones are removed. Where it ends the run's context, they stay.
	Checkpointed func(step int, dir string)
	// Counted is told what became of the samples: when something is new about it, and before each checkpoint.
	Counted func(Counts) error
	// Pruned runs after a checkpoint was removed because newer ones replace it.
	Pruned func(step int)
}

// Phase names a part of a step, for timing.
type Phase int

// The phases of a step, in order.
const (
	PhaseData Phase = iota // waiting for the batch
	PhaseForward
	PhaseLoss
	PhaseBackward
	PhaseStep
	PhaseRecord
	Phases
)

var phaseNames = [Phases]string{"data", "forward", "loss", "backward", "step", "record"}

// String returns the name of the phase in one word.
func (p Phase) String() string { return phaseNames[p] }

// StepReport tells the outcome of one step.
type StepReport struct {
	Step       int // completed steps, this one included
	Steps      int
	Loss       float64
	Parts      map[string]float64
	Scalars    map[string]float64
	LR         float64
	GradNorm   float64 // before clipping
	TowerNorms [3]float64
	Samples    int
	Duration   time.Duration
	Phases     [Phases]time.Duration
	Sent       int64 // bytes that this rank gave to others in the step
	// Texts counts what this rank's text tower was to embed, each time that it was, and Merged those of them that were not
	// computed, as equal ones were. Both are 0 unless Config.DeduplicateCaptions.
	Texts, Merged int
}

// Result tells the outcome of Run.
type Result struct {
	Steps         int
	Samples       int     // seen in all, an interrupted part included
	TrainSeconds  float64 // inside steps; evaluation and checkpoints excluded
	LastLoss      float64
	CheckpointDir string // the newest checkpoint; "" for none
	Stopped       bool   // ended by a stop request before Steps
	Counts        Counts
}

// Trainer runs a Config once.
type Trainer struct {
	cfg   Config
	parts Parts
	rec   clip.Recorder
	hooks Hooks

	state     State
	plan      *mixture.Plan // its steps are the prefetcher's
	ckptDir   string
	kept      []int // steps of the checkpoints that are recorded, in order
	dirty     bool  // steps were done since the last checkpoint
	micro     int   // micro-batches in a step
	passes    []pass
	lanes     [][]int // the passes of each encoder: image tower, text tower, teachers
	remember  [2]Features
	lengths   lengths
	uncounted bool // the text encoder does not count tokens
	// uncountedMicros is the step's batch until its captions are counted; counted is what came of it, nil where nobody counts.
	uncountedMicros microBatches
	counted         *tokenCounts
	// Of the texts that the text tower was to embed in the step under way, textsLeft were left to equal ones.
	textsAsked, textsLeft int
	ranks                 ranks
}

// New checks a config. Every fault in it yields fault.Invalid.
func New(cfg Config, parts Parts, rec clip.Recorder, hooks Hooks) (*Trainer, error) {
	if cfg.Group == nil {
		cfg.Group = collective.Single{}
	}
	if cfg.Prefetch == 0 {
		cfg.Prefetch = 2
	}
	if cfg.LogEvery == 0 {
		cfg.LogEvery = 1
	}
	switch {
	case cfg.Steps <= 0:
		return nil, fault.New(fault.Invalid, "steps is %d, want at least 1", cfg.Steps)
	case cfg.BatchSize < 2:
		return nil, fault.New(fault.Invalid, "batch_size is %d, want at least 2: a contrastive loss compares pairs", cfg.BatchSize)
	}
	var err error
	var remark string
	if cfg.MicroBatchSize, remark, err = MicroBatch(cfg.BatchSize, cfg.MicroBatchSize, cfg.Group.Size()); err != nil {
		return nil, err
	}
	plan, err := mixture.New(cfg.Sources, cfg.BatchSize, cfg.Seed)
	if err != nil {
		return nil, err
	}
	t := &Trainer{
		plan: plan,
		cfg:  cfg, parts: parts, rec: rec, hooks: hooks,
		micro: cfg.BatchSize / cfg.MicroBatchSize,
		lanes: make([][]int, firstTeacher),
	}
	if t.passes, err = parts.passes(); err != nil {
		return nil, err
	}
	t.ranks.remark = remark
	if err := t.join(cfg.Group); err != nil {
		return nil, err
	}
	for k, p := range t.passes {
		for len(t.lanes) <= p.encoder {
			t.lanes = append(t.lanes, nil)
		}
		t.lanes[p.encoder] = append(t.lanes[p.encoder], k)
	}
	return t, nil
}

// Run trains to the end, or until stop is closed: then it finishes the step, writes a checkpoint and returns
// with Result.Stopped. A cancelled ctx ends it at once with fault.Canceled and no checkpoint. A non-finite loss
// or gradient yields fault.Numeric.
//
// Several ranks end after the same step, whichever of them is stopped. When a rank fails, all do; one that is gone
// yields fault.Unavailable. Ranks that are not all ready, as New or Resume failed somewhere, must not call Run.
func (t *Trainer) Run(ctx context.Context, stop <-chan struct{}) (Result, error) {
	if t.ranks.many() {
		return t.runTogether(ctx, stop)
	}
	return t.runSteps(ctx, stop)
}

func (t *Trainer) runSteps(ctx context.Context, stop <-chan struct{}) (Result, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	batches := t.prefetch(ctx, t.state.Step)
	defer batches.close(cancel)

	if t.state.Unevaluated { // the evaluation that was due was broken off
		if stopped, err := t.evaluate(ctx, stop); stopped || err != nil {
			return t.result(stopped), err
		}
	}
	for t.state.Step < t.cfg.Steps {
		report, err := t.step(ctx, batches, stop)
		if errors.Is(err, errStopped) {
			err := t.checkpoint(ctx)
			return t.result(true), err
		}
		if err != nil {
			return t.result(false), withOp(err, fmt.Sprintf("train: step %d", t.state.Step+1))
		}
		t.state.Step++
		t.state.TrainSeconds += report.Duration.Seconds()
		t.state.LastLoss = report.Loss
		t.dirty = true
		start := time.Now()
		if err := t.record(report); err != nil {
			return t.result(false), err
		}
		report.Phases[PhaseRecord] = time.Since(start)
		if t.hooks.Step != nil {
			t.hooks.Step(report)
		}
		if stopped, err := t.between(ctx, stop); stopped || err != nil {
			return t.result(stopped), err
		}
	}
	return t.result(false), nil
}

// errStopped tells that a stop was asked for while a step waited for its batch; the step was not done.
var errStopped = errors.New("stopped")

// between does what is due after a step. Evaluation comes first, so that a checkpoint of a step implies that
// the step's evaluation is recorded, or says that it is not.
func (t *Trainer) between(ctx context.Context, stop <-chan struct{}) (stopped bool, err error) {
	last := t.state.Step == t.cfg.Steps
	if t.hooks.Evaluate != nil && (last || t.cfg.EvalEvery > 0 && t.state.Step%t.cfg.EvalEvery == 0) {
		if stopped, err := t.evaluate(ctx, stop); stopped || err != nil {
			return stopped, err
		}
	}
	if last || t.cfg.CheckpointEvery > 0 && t.state.Step%t.cfg.CheckpointEvery == 0 {
		return false, t.checkpoint(ctx)
	}
	return false, nil
}

// evaluate measures the model. A stop breaks it off; the checkpoint that is written then says that the
// evaluation is still due.
func (t *Trainer) evaluate(ctx context.Context, stop <-chan struct{}) (stopped bool, err error) {
	if t.hooks.Evaluate == nil {
		t.state.Unevaluated = false
		return false, nil
	}
	if t.ranks.many() {
		return t.evaluateTogether(ctx, stop)
	}
	during, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-stop:
			cancel(errStopped)
		case <-during.Done():
		}
	}()
	err = t.hooks.Evaluate(during, t.state.Step)
	switch {
	case err == nil:
		t.state.Unevaluated = false // the checkpoint may still say so: it would be evaluated once more, to the same effect
		return false, nil
	case errors.Is(context.Cause(during), errStopped) && fault.KindOf(err) == fault.Canceled:
		t.dirty = t.dirty || !t.state.Unevaluated
		t.state.Unevaluated = true
		return true, t.checkpoint(ctx)
	}
	return false, withOp(err, fmt.Sprintf("evaluate: step %d", t.state.Step))
}

func (t *Trainer) result(stopped bool) Result {
	return Result{
		Steps: t.state.Step, Samples: t.state.Step * t.cfg.BatchSize, TrainSeconds: t.state.TrainSeconds,
		LastLoss: t.state.LastLoss, CheckpointDir: t.ckptDir, Stopped: stopped, Counts: t.state.Counts,
	}
}

// withOp names what was being done, keeping a fault's own fields.
func withOp(err error, op string) error {
	if f, ok := err.(*fault.Error); ok && f.Op == "" {
		told := *f // others may hold it too
		return told.WithOp(op)
	}
	return fmt.Errorf("%s: %w", op, err)
}

// record records a step, and warns when the model has collapsed.
func (t *Trainer) record(r StepReport) error {
	if err := t.watchCollapse(r); err != nil {
		return err
	}
	if r.Step%t.cfg.LogEvery != 0 && r.Step != t.cfg.Steps {
		return nil
	}
	m := []clip.Metric{
		{Name: metric.TrainLoss, Value: r.Loss},
		{Name: metric.LearningRate, Value: r.LR},
		{Name: metric.GradNorm, Value: r.GradNorm},
		{Name: metric.GradNormOf("image"), Value: r.TowerNorms[0]},
		{Name: metric.GradNormOf("text"), Value: r.TowerNorms[1]},
		{Name: metric.GradNormOf("loss"), Value: r.TowerNorms[2]},
		{Name: metric.SamplesPerS, Value: float64(r.Samples) / r.Duration.Seconds()},
		{Name: metric.DataWaitMS, Value: float64(r.Phases[PhaseData].Microseconds()) / 1000},
	}
	for name, v := range r.Parts {
		m = append(m, clip.Metric{Name: metric.LossPart(name), Value: v})
	}
	for name, v := range r.Scalars {
		m = append(m, clip.Metric{Name: metric.Training(name), Value: v})
	}
	if r.Texts > 0 {
		m = append(m, clip.Metric{Name: metric.Training("captions_merged_share"), Value: float64(r.Merged) / float64(r.Texts)})
	}
	m = append(m, t.state.Counts.metrics()...)
	return t.rec.Metrics(r.Step, m)
}
