package trial

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"time"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/plugin/process"
	"tandem/core/tensor"
)

// leastCalls is how often each method is called at least, and most the time that is taken for that.
const (
	leastCalls = 3
	mostBench  = 10 * time.Minute
)

// Cost tells what calls of one method cost. Times are medians.
type Cost struct {
	Method       string  `json:"method"`
	SharedMemory bool    `json:"shared_memory"` // tensors travel in it, not in messages
	Calls        int     `json:"calls"`
	Seconds      float64 `json:"seconds"` // as the caller waits
	Inside       float64 `json:"inside"`  // in the plugin's method, in seconds
	Overhead     float64 `json:"overhead"`
	PerSecond    float64 `json:"calls_per_second"`
	Bytes        int64   `json:"bytes"` // of tensors and texts, there and back
	BytesPerSec  float64 `json:"bytes_per_second"`
}

// Costs describes a plugin and what its calls cost.
type Costs struct {
	Plugin  string          `json:"plugin"`
	Path    string          `json:"path"`
	With    json.RawMessage `json:"with"`
	Batch   int             `json:"batch"`
	Methods []Cost          `json:"methods"`
}

// Bench calls a plugin as training does for about the time of spell, with shared memory and without, and tells the cost of
// every method. Options that are not given are the plugin's defaults.
func Bench(ctx context.Context, o Options, spell time.Duration) (Costs, error) {
	if o.With == nil && !o.needs() {
		o.With = json.RawMessage("{}")
	}
	if o.EmbedDim == 0 {
		o.EmbedDim = 512
	}
	if o.Batch == 0 {
		o.Batch = 64
	}
	if o.ImageSize == 0 {
		o.ImageSize = 64
	}
	if err := o.complete(ctx); err != nil {
		return Costs{}, err
	}
	out := Costs{Plugin: o.Binary.Ref(), Path: o.Binary.Path, With: o.With, Batch: o.Batch}
	for _, inline := range []bool{false, true} {
		costs, err := o.bench(ctx, spell/2, inline)
		if err != nil {
			return out, err
		}
		out.Methods = append(out.Methods, costs...)
	}
	return out, nil
}

// needs reports whether an option must be given.
func (o *Options) needs() bool {
	return slices.ContainsFunc(o.Descriptor.Schema, func(f clip.Field) bool { return f.Required })
}

// meter keeps the times of calls.
type meter struct {
	mu    sync.Mutex
	on    bool
	calls map[string][]process.Call
}

func (m *meter) observe(c process.Call) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.on && !c.Failed {
		m.calls[c.Method] = append(m.calls[c.Method], c)
	}
}

func (o *Options) bench(ctx context.Context, spell time.Duration, inline bool) ([]Cost, error) {
	m := &meter{calls: map[string][]process.Call{}}
	session, err := process.NewSession(process.SessionOptions{Catalog: o.Catalog, NoSharedMemory: inline, Limits: o.Limits, Observe: m.observe})
	if err != nil {
		return nil, err
	}
	defer session.Close()
	round, bytes, err := o.round(ctx, session)
	if err != nil {
		return nil, err
	}
	if err := round(); err != nil { // the first one makes programs and pages
		return nil, err
	}
	m.on = true
	begin := time.Now()
	for n := 0; n < leastCalls || time.Since(begin) < spell; n++ {
		if err := round(); err != nil {
			return nil, err
		}
		if time.Since(begin) > mostBench {
			break
		}
	}
	var out []Cost
	for method, calls := range m.calls {
		median := func(of func(process.Call) time.Duration) float64 {
			times := make([]time.Duration, len(calls))
			for i, c := range calls {
				times[i] = of(c)
			}
			slices.Sort(times)
			return times[len(times)/2].Seconds()
		}
		c := Cost{Method: method, SharedMemory: session.Arena() != nil, Calls: len(calls), Bytes: bytes[method],
			Seconds:  median(func(c process.Call) time.Duration { return c.Client }),
			Inside:   median(func(c process.Call) time.Duration { return c.Server }),
			Overhead: median(func(c process.Call) time.Duration { return c.Client - c.Server })}
		c.PerSecond, c.BytesPerSec = 1/c.Seconds, float64(c.Bytes)/c.Seconds
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b Cost) int {
		order := []string{"Batch", "Forward", "Compute", "Backward", "GradNorm", "Step"}
		return slices.Index(order, a.Method) - slices.Index(order, b.Method)
	})
	return out, nil
}

// round starts and configures the plugin. It returns a function that calls it as a training step does, and the bytes that
// calls of each method move.
func (o *Options) round(ctx context.Context, s *process.Session) (func() error, map[string]int64, error) {
	row := int64(4 * o.EmbedDim * o.Batch)
	switch o.Descriptor.Kind {
	case clip.KindEncoder:
		e, err := o.encoder(ctx, s)
		if err != nil {
			return nil, nil, err
		}
		info, err := e.Configure(ctx, o.encoderConfig())
		if err != nil {
			return nil, nil, err
		}
		q, step := forwardRequest(info, o.Batch, clip.Train), 0
		grad := tensor.New(tensor.F32, o.Batch, o.EmbedDim)
		for i := range grad.F32() {
			grad.F32()[i] = float32(i%7) - 3
		}
		sent := int64(0)
		if q.Images != nil {
			sent = int64(len(q.Images.Data))
		}
		for _, text := range q.Texts {
			sent += int64(len(text))
		}
		return func() error {
			step++
			q.Step = step
			out, ticket, err := e.Forward(ctx, q)
			if err != nil {
				return err
			}
			out.Free()
			if ticket == 0 {
				return nil
			}
			if err := e.Backward(ctx, ticket, grad); err != nil {
				return err
			}
			if _, err := e.GradNorm(ctx); err != nil {
				return err
			}
			return e.Step(ctx, step, 1e-6, 1)
		}, map[string]int64{"Forward": sent + row, "Backward": row}, nil
	case clip.KindLoss:
		l, err := o.loss(ctx, s)
		if err != nil {
			return nil, nil, err
		}
		if len(o.Descriptor.Inputs) > 0 {
			return nil, nil, fault.New(fault.Unavailable, "%s takes %s, which the benchmark does not make", o.Binary.Ref(), strings.Join(o.Descriptor.Inputs, ", ")).
				WithHint("runner bench SPEC times it in training")
		}
		if _, err := l.Configure(ctx, o.lossConfig(o.Batch)); err != nil {
			return nil, nil, err
		}
		q, step := lossRequest(o.Batch, o.EmbedDim), 0
		return func() error {
			step++
			r, err := l.Compute(ctx, q)
			if err != nil {
				return err
			}
			r.DImage.Free()
			r.DText.Free()
			if _, err := l.GradNorm(ctx); err != nil {
				return err
			}
			return l.Step(ctx, step, 1e-6, 1)
		}, map[string]int64{"Compute": 4 * row}, nil
	}
	d, err := o.dataset(ctx, s)
	if err != nil {
		return nil, nil, err
	}
	info, err := d.Configure(ctx, o.datasetConfig())
	if err != nil {
		return nil, nil, err
	}
	next := 0
	return func() error {
		q := clip.BatchRequest{Train: true}
		for range o.Batch {
			q.Indices = append(q.Indices, next%info.Len)
			q.Epoch = next / info.Len
			next++
		}
		b, err := d.Batch(ctx, q)
		if err != nil {
			return err
		}
		b.Images.Free()
		return nil
	}, map[string]int64{"Batch": int64(3 * o.ImageSize * o.ImageSize * o.Batch)}, nil
}
