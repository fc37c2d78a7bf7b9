package run

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"tandem/core/experiment/assemble"
	"tandem/core/experiment/eval"
	"tandem/core/experiment/spec"
	"tandem/core/experiment/train"
	"tandem/core/fault"
)

// beside evaluates while training goes on (train.eval_device). What is to be evaluated lies in a folder of the run's until its
// figures are durable, so that neither a stop nor a crash loses an evaluation. One waits at most while another is made: training
// then waits too.
type beside struct {
	r       *running
	plugins assemble.Plugins
	spec    *spec.Spec
	dir     string
	queue   chan int // steps
	full    func()   // closes queue
	ended   chan struct{}
	cancel  context.CancelFunc
	model   *assemble.Model

	mu   sync.Mutex
	err  error        // of the first evaluation that failed
	left map[int]bool // steps that are not evaluated yet
}

// pendingIn lists the steps that wait in a folder to be evaluated, in order.
func pendingIn(dir string) (steps []int) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if step, err := strconv.Atoi(strings.TrimPrefix(e.Name(), "step-")); err == nil && e.IsDir() {
			steps = append(steps, step)
		}
	}
	slices.Sort(steps)
	return steps
}

// evaluateBeside starts to evaluate beside training what an earlier process left to be evaluated up to the checkpoint that the run goes
// on from, -1 for none. What lies beyond it is trained anew, and forgotten. close ends it.
func (r *running) evaluateBeside(ctx context.Context, a Attempt, dir string) (b *beside, err error) {
	b = &beside{r: r, plugins: a.Plugins, spec: assemble.EvalSpec(r.Spec), dir: dir, left: map[int]bool{}, ended: make(chan struct{})}
	half, _ := filepath.Glob(filepath.Join(dir, "*.tmp"))
	for _, path := range half { // a killed process was writing them
		_ = os.RemoveAll(path)
	}
	var due []int
	for _, step := range pendingIn(dir) {
		if step <= a.From.Step && train.Verify(b.at(step), r.rec.ID(), step) == nil {
			due = append(due, step)
			b.left[step] = true
			continue
		}
		if err := os.RemoveAll(b.at(step)); err != nil {
			return nil, fault.New(fault.Unavailable, "%w", err)
		}
	}
	if err := assemble.CheckDevices(b.spec); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fault.New(fault.Exhausted, "%w", err)
	}
	b.queue = make(chan int, 1+len(due))
	b.full = sync.OnceFunc(func() { close(b.queue) })
	for _, step := range due {
		b.queue <- step
	}
	ctx, b.cancel = context.WithCancel(ctx)
	go b.work(ctx)
	return b, nil
}

// at returns the folder of a step, which train.WriteCheckpoint names.
func (b *beside) at(step int) string { return train.CheckpointIn(b.dir, step) }

// evaluate keeps the parameters of a step for its evaluation. It waits while another waits already.
func (b *beside) evaluate(ctx context.Context, step int) error {
	b.mu.Lock()
	err, known := b.err, b.left[step]
	b.mu.Unlock()
	if err != nil || known { // an earlier process kept it
		return err
	}
	b.r.watch.Doing("keeping the parameters for their evaluation")
	defer b.r.watch.Doing("")
	if _, err := train.WriteCheckpoint(ctx, b.dir, b.r.Parts, train.State{Step: step, Run: b.r.rec.ID()}); err != nil {
		return err
	}
	b.mu.Lock()
	b.left[step] = true
	b.mu.Unlock()
	b.r.watch.Doing("waiting for the evaluation before")
	select {
	case b.queue <- step:
		return nil
	case <-b.ended:
		return b.failure()
	case <-ctx.Done():
		return fault.New(fault.Canceled, "%w", ctx.Err())
	}
}

func (b *beside) failure() error { b.mu.Lock(); defer b.mu.Unlock(); return b.err }

// work evaluates one step after another.
func (b *beside) work(ctx context.Context) {
	defer close(b.ended)
	defer func() {
		if b.model != nil {
			_ = b.model.Close() // what was found is recorded
		}
	}()
	for step := range b.queue {
		err := fault.Safely(func() error { return b.one(ctx, step) })()
		if err != nil {
			b.mu.Lock()
			b.err = err
			b.mu.Unlock()
			return
		}
	}
}

// one evaluates a step and forgets its parameters when its figures are durable.
func (b *beside) one(ctx context.Context, step int) error {
	if b.model == nil {
		m, err := assemble.OpenEvaluator(ctx, b.r.lab.Catalog, b.spec, b.plugins)
		if err != nil {
			return err
		}
		b.model = m
	}
	if err := b.model.LoadCheckpoint(ctx, b.at(step)); err != nil {
		return err
	}
	plan := b.model.EvalPlan()
	results := make([]eval.Result, len(b.r.Spec.Eval))
	for i := range results {
		var err error
		if results[i], err = plan.Run(ctx, i, nil); err != nil {
			return assemble.PlaceEval(b.r.Spec, err, i)
		}
	}
	for i, found := range results {
		if err := b.r.recordEvaluation(step, i, found); err != nil {
			return err
		}
	}
	if err := b.r.rec.Flush(ctx); err != nil {
		return err
	}
	if save := b.r.lab.Save; save != nil {
		if err := save(context.WithoutCancel(ctx)); err != nil { // a stop waits for it, as for a checkpoint
			return err
		}
	}
	if err := os.RemoveAll(b.at(step)); err != nil {
		return fault.New(fault.Unavailable, "%w", err)
	}
	b.mu.Lock()
	delete(b.left, step)
	b.mu.Unlock()
	return nil
}

// finish waits for the evaluations that are still to come, or for stop, after which they wait for the run to be gone on with. It
// returns the error of the first that failed, and whether any waits.
func (b *beside) finish(stop <-chan struct{}) (waiting bool, err error) {
	b.full()
	b.r.watch.Doing("waiting for the last evaluations")
	defer b.r.watch.Doing("")
	select {
	case <-b.ended:
		return false, b.failure()
	case <-stop:
	}
	b.cancel()
	<-b.ended
	b.mu.Lock()
	defer b.mu.Unlock()
	if fault.KindOf(b.err) == fault.Canceled {
		b.err = nil
	}
	return len(b.left) > 0, b.err
}

// end ends the processes at once, after finish or without it.
func (b *beside) end() {
	b.full()
	b.cancel()
	<-b.ended
	_ = os.Remove(filepath.Clean(b.dir)) // when it is empty
}
