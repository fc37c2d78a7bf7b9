package process_test

import (
	"bytes"
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"tandem/core/clip"
	"tandem/core/engine/weights"
	"tandem/core/fault"
	"tandem/core/plugin/process"
	"tandem/core/tensor"
)

func bothWays(t *testing.T, f func(t *testing.T, o process.SessionOptions)) {
	t.Run("shared memory", func(t *testing.T) { f(t, process.SessionOptions{}) })
	t.Run("inline", func(t *testing.T) { f(t, process.SessionOptions{NoSharedMemory: true}) })
}

func TestEncoderAcrossProcesses(t *testing.T) {
	bothWays(t, func(t *testing.T, o process.SessionOptions) {
		t.Setenv("SECRET", "must not reach a plugin")
		ctx := t.Context()
		s := session(t, o)
		e, p, err := s.StartEncoder(ctx, "encoders/echo", process.StartOptions{Threads: 3})
		if err != nil {
			t.Fatal(fault.Format(err))
		}
		info, err := e.Configure(ctx, clip.EncoderConfig{With: []byte(`{"width":5}`), EmbedDim: 4, Seed: math.MaxUint64,
			Optimizer: clip.Optimizer{Name: "lion"}, Compute: clip.Compute{Threads: 3}, Captions: []string{"a", "b"}})
		want := clip.EncoderInfo{Modality: clip.Text, EmbedDim: 4, Parameters: 3, ContextLength: 77, VocabSize: 2,
			FLOPs: 1e18, Backend: "lion 3"}
		if err != nil || !reflect.DeepEqual(info, want) {
			t.Errorf("info %+v, %v, want %+v", info, err, want)
		}
		if err := forward(t, e, "hello", "a"); err != nil {
			t.Error(err)
		}
		images := tensor.New(tensor.U8, 2, 3, 3, 3)
		images.Data[0], images.Data[27] = 7, 200
		before := bytes.Clone(images.Data)
		out, ticket, err := e.Forward(ctx, clip.ForwardRequest{Images: images, Mode: clip.Train, Step: 12, Micro: 3})
		if err != nil || ticket != 12031 || out.F32()[3] != 7 || out.F32()[4] != 200 || !out.Shape.Equal(tensor.Shape{2, 4}) {
			t.Fatalf("forward gave %v, ticket %d, %v", out, ticket, err)
		}
		if !bytes.Equal(images.Data, before) {
			t.Error("forward changed its input")
		}
		if err := e.Backward(ctx, ticket, out); err != nil {
			t.Error(err)
		}
		out.Free()
		inf := tensor.FromF32([]float32{float32(math.Inf(1))}, 1, 1)
		if err := e.Backward(ctx, 5, inf); fault.KindOf(err) != fault.Conflict {
			t.Errorf("a used ticket gives %v", err)
		}
		if n, err := e.GradNorm(ctx); err != nil || n != 4*49+4*40000 {
			t.Errorf("grad norm is %v, %v", n, err)
		}
		if n, err := e.(clip.BackwardNormer).BackwardNorm(ctx, ticket, inf); err != nil || !math.IsInf(n, 1) {
			t.Errorf("an infinite grad norm arrives with a gradient's answer as %v, %v", n, err)
		}
		if n, err := e.GradNorm(ctx); err != nil || !math.IsInf(n, 1) {
			t.Errorf("an infinite grad norm arrives as %v, %v", n, err)
		}
		if err := e.Step(ctx, 9, 1e-3, 0.5); err != nil {
			t.Error(err)
		}
		path := filepath.Join(t.TempDir(), "w")
		if err := errors.Join(e.Save(ctx, path), e.Load(ctx, path), e.Discard(ctx, 3)); err != nil {
			t.Error(err)
		}
		if f, err := weights.Open(path); err != nil {
			t.Error(err)
		} else if step, err := f.F32("step", 3); err != nil || step[0] != 9 || step[1] != 1e-3 || step[2] != 0.5 {
			t.Errorf("saved %v, %v", step, err)
		}
		if _, err := e.Configure(ctx, clip.EncoderConfig{EmbedDim: 4}); fault.KindOf(err) != fault.Conflict {
			t.Errorf("a second Configure gives %v", err)
		}
		if err := errors.Join(e.Close(), e.Close()); err != nil {
			t.Error(err)
		}
		if err := e.Step(ctx, 9, 1e-3, 0.5); fault.KindOf(err) != fault.Conflict {
			t.Errorf("use after Close gives %v", err)
		}
		if p.Descriptor.Version != "1.2.3" || p.Name() != "encoders/echo" || len(p.Binary.SHA256) != 64 {
			t.Errorf("process is %+v", p.Binary)
		}
		if a := s.Arena(); a != nil && a.Stats().Slots != 0 {
			t.Errorf("%d slots are still in use", a.Stats().Slots)
		}
		for _, m := range p.Stats() {
			if m.Method == "Forward" && (m.Calls != 2 || m.Server <= 0 || m.Client <= m.Server) {
				t.Errorf("stats of Forward are %+v", m)
			}
		}
	})
}

func TestLossAcrossProcesses(t *testing.T) {
	bothWays(t, func(t *testing.T, o process.SessionOptions) {
		ctx := t.Context()
		l, _, err := session(t, o).StartLoss(ctx, "dot", process.StartOptions{})
		if err != nil {
			t.Fatal(fault.Format(err))
		}
		if info, err := l.Configure(ctx, clip.LossConfig{BatchSize: 2}); err != nil || !reflect.DeepEqual(info, clip.LossInfo{Parameters: 2, Backend: "plain"}) {
			t.Errorf("info %+v, %v", info, err)
		}
		image := tensor.FromF32([]float32{1, 2, 3, 4}, 2, 2)
		text := tensor.FromF32([]float32{5, 6, 7, 8}, 2, 2)
		r, err := l.Compute(ctx, clip.LossRequest{Image: image, Text: text, Train: true, PerSample: true})
		if err != nil {
			t.Fatal(err)
		}
		if r.Value != -35 || r.PerSample["dot"][1] != -53 || r.Parts["dot"] != -1.5 || r.Scalars["logit_scale"] != 14 ||
			r.DImage.F32()[3] != -4 || r.DText.F32()[0] != -0.5 {
			t.Errorf("result %+v", r)
		}
		r, err = l.Compute(ctx, clip.LossRequest{Image: image, Text: text})
		if err != nil || r.DImage != nil || r.DText != nil || r.PerSample != nil {
			t.Errorf("result %+v, %v", r, err)
		}
		_, err = l.Compute(ctx, clip.LossRequest{Image: image, Text: tensor.New(tensor.F32, 2, 3)})
		if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "losses/dot: image is [2 2], text is [2 3]") {
			t.Errorf("shapes that differ give %v", err)
		}
	})
}

func TestDatasetAcrossProcesses(t *testing.T) {
	bothWays(t, func(t *testing.T, o process.SessionOptions) {
		ctx := t.Context()
		s := session(t, o)
		d, _, err := s.StartDataset(ctx, "count", process.StartOptions{})
		if err != nil {
			t.Fatal(fault.Format(err))
		}
		info, err := d.Configure(ctx, clip.DatasetConfig{ImageSize: 4, Augment: &clip.Augment{Name: "none", HFlip: 0.5, Scale: [2]float64{1, 2}}})
		if err != nil || info.Len != 100 || info.Targets[0].Classes[1] != "odd" || info.Note != "&{none [1 2] [0 0] 0.5 [0 0 0 0] 0 0 0 [0 0] 0 0}" || info.Skipped != 2 {
			t.Errorf("info %+v, %v", info, err)
		}
		b, err := d.Batch(ctx, clip.BatchRequest{Indices: []int{3, 8}, Epoch: 6})
		if err != nil {
			t.Fatal(err)
		}
		if b.Images.Data[47] != 3 || b.Images.Data[48] != 8 || b.Captions[1] != "caption 8 of epoch 6 \ufffd" || b.Keys[0] != "3" ||
			b.Groups[1] != 8 || b.Labels["parity"][0] != 1 || b.All[1][1] != "b" || b.Faults[0].Msg != "broken" {
			t.Errorf("batch %+v", b)
		}
		b.Images.Free()
		into := tensor.New(tensor.U8, 1, 4, 4, 3)
		if b, err = d.Batch(ctx, clip.BatchRequest{Indices: []int{9}, Train: true, Into: into}); err != nil || b.Images != into || into.Data[47] != 9 || b.All != nil {
			t.Errorf("batch into the heap: %+v, %v", b, err)
		}
		if a := s.Arena(); a != nil {
			shared, err := a.Alloc(tensor.U8, 1, 4, 4, 3)
			if err != nil {
				t.Fatal(err)
			}
			if b, err = d.Batch(ctx, clip.BatchRequest{Indices: []int{11}, Into: shared}); err != nil || b.Images != shared || shared.Data[0] != 11 {
				t.Errorf("batch into shared memory: %+v, %v", b, err)
			}
			shared.Free()
			if n := a.Stats().Slots; n != 0 {
				t.Errorf("%d slots are still in use", n)
			}
		}
	})
}

func TestManyBatchesAtOnce(t *testing.T) {
	s := session(t, process.SessionOptions{})
	d, _, err := s.StartDataset(t.Context(), "count", process.StartOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Configure(t.Context(), clip.DatasetConfig{ImageSize: 32}); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 20 {
				index := g*12 + i%12
				if index == 99 {
					continue
				}
				b, err := d.Batch(t.Context(), clip.BatchRequest{Indices: []int{index, index}})
				if err != nil {
					t.Error(err)
					return
				}
				for _, v := range b.Images.Data {
					if v != byte(index) {
						t.Errorf("batch %d has a %d", index, v)
						return
					}
				}
				b.Images.Free()
			}
		})
	}
	wg.Wait()
	if n := s.Arena().Stats().Slots; n != 0 {
		t.Errorf("%d slots are still in use", n)
	}
}

func TestBigTensors(t *testing.T) {
	bothWays(t, func(t *testing.T, o process.SessionOptions) {
		l, _, err := session(t, o).StartLoss(t.Context(), "dot", process.StartOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.Configure(t.Context(), clip.LossConfig{}); err != nil {
			t.Fatal(err)
		}
		const n = 3 << 20 // 12 MiB each, above every default limit of gRPC
		a := tensor.New(tensor.F32, n/1024, 1024)
		for i := range a.F32() {
			a.F32()[i] = float32(i % 7)
		}
		r, err := l.Compute(t.Context(), clip.LossRequest{Image: a, Text: a, Train: true})
		if err != nil {
			t.Fatal(err)
		}
		if got, want := r.DText.F32()[n-1], -float32((n-1)%7)/(n/1024); got != want {
			t.Errorf("last element %v, want %v", got, want)
		}
	})
}

func TestFaultsCrossTheBorder(t *testing.T) {
	s := session(t, process.SessionOptions{})
	e, _ := encoder(t, s)
	err := forward(t, e, "fault")
	var f *fault.Error
	if !errors.As(err, &f) {
		t.Fatal(err)
	}
	want := fault.Error{Kind: fault.Numeric, Op: "block 3: forward", Plugin: "encoders/echo", File: "f", Line: 1, Column: 2,
		Path: "with.x", Msg: "loss is NaN", Hint: "lower the learning rate", Detail: "line 1\nline 2"}
	if *f != want {
		t.Errorf("got  %#v\nwant %#v", *f, want)
	}
	e2, _, err := s.StartEncoder(t.Context(), "echo", process.StartOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = e2.Configure(t.Context(), clip.EncoderConfig{With: []byte(`{"fail":true}`)})
	var list fault.List
	if !errors.As(err, &list) || len(list) != 2 || list[0].Hint != "do this" || list[1].Line != 3 || list[1].Kind != fault.Numeric {
		t.Errorf("a list arrives as %#v", err)
	}
	_, err = e2.Configure(t.Context(), clip.EncoderConfig{With: []byte(`{"wdth":1}`)})
	if fault.KindOf(err) != fault.Invalid || !strings.Contains(fault.Format(err), "did you mean width?") {
		t.Errorf("an unknown field gives %v", err)
	}
	if err := forward(t, e2, "x"); fault.KindOf(err) != fault.Conflict {
		t.Errorf("use before Configure gives %v", err)
	}
}

func TestPanicIsAnErrorAndNotTheEnd(t *testing.T) {
	e, _ := encoder(t, session(t, process.SessionOptions{}))
	err := forward(t, e, "panic")
	var f *fault.Error
	if !errors.As(err, &f) || f.Kind != fault.Internal || !strings.Contains(f.Msg, "as asked") || !strings.Contains(f.Detail, "misbehave") {
		t.Errorf("a panic gives %v", fault.Format(err))
	}
	if err := forward(t, e, "fine"); err != nil {
		t.Errorf("after a panic: %v", err)
	}
}

func TestCancelledCallReturnsSoonAndItsMemoryLater(t *testing.T) {
	s := session(t, process.SessionOptions{})
	e, _ := encoder(t, s)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, _, err := e.Forward(ctx, clip.ForwardRequest{Texts: []string{"sleep"}})
	if fault.KindOf(err) != fault.Canceled || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a call over its deadline: %#v", err)
	}
	if err := forward(t, e, "usable"); err != nil {
		t.Errorf("after it: %v", err)
	}

	release := filepath.Join(t.TempDir(), "release")
	ctx, cancel = context.WithCancel(t.Context())
	go func() {
		awaitFile(release + ".begun")
		cancel()
	}()
	_, _, err = e.Forward(ctx, clip.ForwardRequest{Texts: []string{"stubborn " + release}})
	if fault.KindOf(err) != fault.Canceled || !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled call: %#v", err)
	}
	if s.Arena().Stats().Slots == 0 {
		t.Error("memory that the plugin may still write to was given away")
	}
	if err := os.WriteFile(release, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := forward(t, e, "usable"); err != nil {
		t.Errorf("after it: %v", err)
	}
	waitFor(t, func() bool { return s.Arena().Stats().Slots == 0 }, func() {
		t.Fatalf("%d slots are never given back", s.Arena().Stats().Slots)
	})
}

func TestGarbageOnStdoutDoesNotHang(t *testing.T) {
	dir := t.TempDir()
	s := session(t, process.SessionOptions{LogDir: dir})
	e, p := encoder(t, s)
	for range 9 { // 9 × 10 × 576 KiB
		if err := forward(t, e, "garbage"); err != nil {
			t.Fatal(err)
		}
	}
	if tail := p.Tail(); !strings.HasPrefix("progress", tail) { // no line of 5 MB
		t.Errorf("tail is %.200q", tail)
	}
	s.Close()
	if text, err := os.ReadFile(filepath.Join(dir, "plugin-echo.log")); err != nil || !strings.Contains(string(text), `"plugin":"encoders/echo","role":"echo","message":"progress"`) || len(text) > 1<<20 {
		t.Errorf("log of 50 MiB: %d bytes, %v", len(text), err)
	}
}

func TestSessionsSideBySide(t *testing.T) {
	c := testCatalog(t)
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			s := session(t, process.SessionOptions{Catalog: c})
			e, _, err := s.StartEncoder(t.Context(), "echo", process.StartOptions{})
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := e.Configure(t.Context(), clip.EncoderConfig{EmbedDim: 2}); err != nil {
				t.Error(err)
			}
			if err := forward(t, e, "hello"); err != nil {
				t.Error(err)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestCloseLeavesNothing(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	var mu sync.Mutex
	var calls []process.Call
	s := session(t, process.SessionOptions{Observe: func(c process.Call) {
		mu.Lock()
		defer mu.Unlock()
		calls = append(calls, c)
	}})
	e, p1 := encoder(t, s)
	_, p2 := encoder(t, s)
	if err := forward(t, e, "x"); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	if len(calls) != 3 || calls[2].Method != "Forward" || calls[2].Plugin != "encoders/echo" {
		t.Errorf("observed %+v", calls)
	}
	mu.Unlock()
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Error(err)
	}
	for _, p := range []*process.Process{p1, p2} {
		if alive(p.PID()) || p.Err() != nil {
			t.Errorf("process %d is alive or in error: %v", p.PID(), p.Err())
		}
	}
	if left, _ := filepath.Glob(filepath.Join(temp, "tandem-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if err := e.Step(t.Context(), 1, 1, 1); fault.KindOf(err) != fault.Canceled {
		t.Errorf("use of a closed session gives %v", err)
	}
}
