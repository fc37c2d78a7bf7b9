package wire

import (
	"context"
	"errors"
	"math"
	"os"
	"strings"
	"testing"

	"google.golang.org/grpc"

	"tandem/core/clip"
	"tandem/core/engine/weights"
	"tandem/core/fault"
	"tandem/core/plugin/wire/pb"
	"tandem/core/tensor"
)

// liar connects to a plugin that answers as it should, but for one lie.
type liar struct {
	lie   func(request, reply any)
	reads int
}

func (l *liar) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, errors.New("no streams")
}

func (l *liar) Invoke(_ context.Context, _ string, request, reply any, _ ...grpc.CallOption) error {
	switch r := reply.(type) {
	case *pb.EncoderInfo:
		r.EmbedDim, r.Parameters, r.Flops = 2, 3, 1e9
	case *pb.LossInfo:
		r.Parameters = 1
	case *pb.DatasetInfo:
		r.Len, r.Digest = 10, "abc"
		r.Targets = []*pb.Target{{Name: "class", Classes: []string{"a", "b"}}}
	case *pb.ForwardResponse:
		q := request.(*pb.ForwardRequest)
		r.Embedding, r.Ticket = inlineTensor(tensor.FromF32(make([]float32, 2*len(q.Texts)), len(q.Texts), 2)), 1
		if q.Out != nil {
			r.Embedding = q.Out
		}
	case *pb.LossResponse:
		q := request.(*pb.LossRequest)
		r.Value, r.Parts, r.Scalars = 1, map[string]float64{"p": 1}, map[string]float64{"logit_scale": 2}
		r.PerSample = map[string]*pb.Floats{"p": {Values: make([]float32, q.Image.Shape[0])}}
		r.DImage, r.DText = inlineTensor(tensor.New(tensor.F32, 2, 2)), inlineTensor(tensor.New(tensor.F32, 2, 2))
	case *pb.BatchResponse:
		q := request.(*pb.BatchRequest)
		l.reads++
		images := tensor.New(tensor.U8, len(q.Indices), 2, 2, 3)
		r.Labels = map[string]*pb.Ints{"class": {}}
		for i, index := range q.Indices {
			for j := range 12 {
				images.Data[i*12+j] = byte(index)
			}
			r.Captions, r.Keys, r.Groups = append(r.Captions, "c"), append(r.Keys, string(rune('a'+index))), append(r.Groups, 1)
			r.All = append(r.All, &pb.Strings{Values: []string{"c"}})
			r.Labels["class"].Values = append(r.Labels["class"].Values, int32(index%2))
		}
		r.Images = inlineTensor(images)
	case *pb.FileRequest:
	}
	if l.lie != nil {
		l.lie(request, reply)
	}
	return nil
}

func lying(lie func(request, reply any)) *Conn {
	return NewConn(&liar{lie: lie}, ConnConfig{Plugin: "kind/liar", Words: func() string { return "its last words" }})
}

// in makes a lie about one kind of answer.
func in[R any](change func(R)) func(request, reply any) {
	return func(_, reply any) {
		if r, ok := reply.(R); ok {
			change(r)
		}
	}
}

// drive configures a plugin of every kind over the connection and calls it once.
func drive(t *testing.T, lie func(request, reply any)) error {
	t.Helper()
	ctx := t.Context()
	e := EncoderClient(lying(lie))
	if _, err := e.Configure(ctx, clip.EncoderConfig{EmbedDim: 2}); err != nil {
		return err
	}
	if _, _, err := e.Forward(ctx, clip.ForwardRequest{Texts: []string{"a", "b"}, Mode: clip.Train}); err != nil {
		return err
	}
	if err := e.Backward(ctx, 1, tensor.New(tensor.F32, 2, 2)); err != nil {
		return err
	}
	if _, err := e.GradNorm(ctx); err != nil {
		return err
	}
	if _, err := lying(lie).Plan(ctx, clip.PlanRequest{}); err != nil {
		return err
	}
	if _, _, err := lying(lie).Memory(ctx); err != nil {
		return err
	}
	if _, err := lying(lie).Profile(ctx, true); err != nil {
		return err
	}
	l := LossClient(lying(lie))
	if _, err := l.Configure(ctx, clip.LossConfig{}); err != nil {
		return err
	}
	x := tensor.New(tensor.F32, 2, 2)
	if _, err := l.Compute(ctx, clip.LossRequest{Image: x, Text: x, Train: true, PerSample: true}); err != nil {
		return err
	}
	d := DatasetClient(lying(lie))
	if _, err := d.Configure(ctx, clip.DatasetConfig{ImageSize: 2}); err != nil {
		return err
	}
	for _, train := range []bool{true, false} {
		if _, err := d.Batch(ctx, clip.BatchRequest{Indices: []int{3, 1, 4}, Train: train}); err != nil {
			return err
		}
	}
	_, err := d.Captions(ctx, 1)
	return err
}

// Every answer that breaks a rule is refused where it crosses, and the plugin and the rule are named.
func TestAnswersThatBreakARuleAreRefusedByName(t *testing.T) {
	if err := drive(t, nil); err != nil {
		t.Fatalf("an honest plugin: %v", err)
	}
	nan := float32(math.NaN())
	n := 0
	for rule, lie := range map[string]func(request, reply any){
		"embed_dim is 3, want 2":                 in(func(r *pb.EncoderInfo) { r.EmbedDim = 3 }),
		"parameters is -7":                       in(func(r *pb.EncoderInfo) { r.Parameters = -7 }),
		"parameters is -1":                       in(func(r *pb.LossInfo) { r.Parameters = -1 }),
		"parameters is 1000000000000000":         in(func(r *pb.LossInfo) { r.Parameters = 1e15 }),
		"frozen is 4, want 0 to 3":               in(func(r *pb.EncoderInfo) { r.Frozen = 4 }),
		"image_size is -32":                      in(func(r *pb.EncoderInfo) { r.ImageSize = -32 }),
		"image_size is 1073741824":               in(func(r *pb.EncoderInfo) { r.ImageSize = 1 << 30 }),
		"context_length is -1":                   in(func(r *pb.EncoderInfo) { r.ContextLength = -1 }),
		"vocab_size is -1":                       in(func(r *pb.EncoderInfo) { r.VocabSize = -1 }),
		"flops is NaN":                           in(func(r *pb.EncoderInfo) { r.Flops = math.NaN() }),
		"backend has 70000 bytes":                in(func(r *pb.LossInfo) { r.Backend = strings.Repeat("b", 70000) }),
		"embedding is F32 [2 3], want F32 [2 2]": in(func(r *pb.ForwardResponse) { r.Embedding = inlineTensor(tensor.New(tensor.F32, 2, 3)) }),
		"embedding is I32 [2 2]":                 in(func(r *pb.ForwardResponse) { r.Embedding.Dtype = pb.DType_I32 }),
		"has 3 bytes, want 16":                   in(func(r *pb.ForwardResponse) { r.Embedding.Inline = []byte("abc") }),
		"lacks the embedding":                    in(func(r *pb.ForwardResponse) { r.Embedding = nil }),
		"there is no ticket":                     in(func(r *pb.ForwardResponse) { r.Ticket = 0 }),
		"NaN in the embedding, row 1, column 0": in(func(r *pb.ForwardResponse) {
			r.Embedding = inlineTensor(tensor.FromF32([]float32{0, 0, nan, 0}, 2, 2))
		}),
		"work is -1":                    in(func(r *pb.ForwardResponse) { r.Work = -1 }),
		"a sum of squares is -2":        in(func(r *pb.GradNormResponse) { r.SumOfSquares = -2 }),
		"free_bytes is 9, want 0 to 8":  in(func(r *pb.PlanResponse) { r.FreeBytes, r.TotalBytes = 9, 8 }),
		`the memory of "p" is -1`:       in(func(r *pb.MemoryResponse) { r.Parts = []*pb.MemoryPart{{Name: "p", Bytes: -1}} }),
		"event 0 has the names 0 and 0": in(func(r *pb.ProfileResponse) { r.Events = []*pb.ProfileEvent{{}} }),
		"a loss of NaN":                 in(func(r *pb.LossResponse) { r.Value = math.NaN() }),
		`the part "p", which is +Inf`:   in(func(r *pb.LossResponse) { r.Parts["p"] = math.Inf(1) }),
		`the scalar "logit_scale"`:      in(func(r *pb.LossResponse) { r.Scalars["logit_scale"] = math.NaN() }),
		"the name of a part is":         in(func(r *pb.LossResponse) { r.Parts[strings.Repeat("x", 100000)] = 1 }),
		"per_sample \"p\" has 1 values": in(func(r *pb.LossResponse) { r.PerSample["p"].Values = []float32{1} }),
		"lacks the image gradient":      in(func(r *pb.LossResponse) { r.DImage = nil }),
		"text gradient is F32 [2 1]":    in(func(r *pb.LossResponse) { r.DText = inlineTensor(tensor.New(tensor.F32, 2, 1)) }),
		"-Inf in the text gradient": in(func(r *pb.LossResponse) {
			r.DText = inlineTensor(tensor.FromF32([]float32{0, 0, 0, float32(math.Inf(-1))}, 2, 2))
		}),
		"len is -1":                        in(func(r *pb.DatasetInfo) { r.Len = -1 }),
		"len is 0":                         in(func(r *pb.DatasetInfo) { r.Len = 0 }),
		"len is 1152921504606846976":       in(func(r *pb.DatasetInfo) { r.Len = 1 << 60 }),
		"skipped is -3":                    in(func(r *pb.DatasetInfo) { r.Skipped = -3 }),
		"note has 10000000 bytes":          in(func(r *pb.DatasetInfo) { r.Note = strings.Repeat("n", 1e7) }),
		`digest is ""`:                     in(func(r *pb.DatasetInfo) { r.Digest = "" }),
		`digest is "\n<script>"`:           in(func(r *pb.DatasetInfo) { r.Digest = "\n<script>" }),
		`two targets are named "class"`:    in(func(r *pb.DatasetInfo) { r.Targets = append(r.Targets, r.Targets[0]) }),
		"classes of target \"class\" is 0": in(func(r *pb.DatasetInfo) { r.Targets[0].Classes = nil }),
		"2 captions for 3 samples":         in(func(r *pb.BatchResponse) { r.Captions = r.Captions[:len(r.Captions)-1] }),
		"0 captions for 3 samples":         in(func(r *pb.BatchResponse) { r.Captions = nil }),
		"2 keys for 3 samples":             in(func(r *pb.BatchResponse) { r.Keys = r.Keys[:len(r.Keys)-1] }),
		"2 groups for 3 samples":           in(func(r *pb.BatchResponse) { r.Groups = r.Groups[:len(r.Groups)-1] }),
		"0 lists of all captions":          in(func(r *pb.BatchResponse) { r.All = nil }),
		"bytes, want at most 1048576":      in(func(r *pb.BatchResponse) { r.Captions[0] = strings.Repeat("w", 1<<21) }),
		"a key is empty":                   in(func(r *pb.BatchResponse) { r.Keys[0] = "" }),
		`have one key, "same"`: in(func(r *pb.BatchResponse) {
			for i := range r.Keys {
				r.Keys[i] = "same"
			}
		}),
		`sample 3 has the label 12345 of target "class", want -1 to 1`: in(func(r *pb.BatchResponse) { r.Labels["class"].Values[0] = 12345 }),
		`has the label -2`:                     in(func(r *pb.BatchResponse) { r.Labels["class"].Values[0] = -2 }),
		"2 labels of target \"class\"":         in(func(r *pb.BatchResponse) { v := r.Labels["class"]; v.Values = v.Values[:len(v.Values)-1] }),
		"there are no labels of target":        in(func(r *pb.BatchResponse) { r.Labels = nil }),
		"labels of 2 targets, of which":        in(func(r *pb.BatchResponse) { r.Labels["other"] = &pb.Ints{} }),
		"the index of an unreadable sample is": in(func(r *pb.BatchResponse) { r.Faults = []*pb.SampleFault{{Index: -5}} }),
		"lacks the pictures":                   in(func(r *pb.BatchResponse) { r.Images = nil }),
		"pictures is F32":                      in(func(r *pb.BatchResponse) { r.Images.Dtype = pb.DType_F32 }),
		"pictures is U8 [3 3 2 3]":             in(func(r *pb.BatchResponse) { r.Images.Shape[1]++ }),
		"2 captions, at most 1":                in(func(r *pb.CaptionsResponse) { r.Captions = []string{"a", "b"} }),
		"another picture each time": in(func(r *pb.BatchResponse) {
			n++
			r.Images.Inline[0] = byte(n)
			r.Images.Inline[12*(len(r.Keys)-1)] = byte(n)
		}),
		"another key (": in(func(r *pb.BatchResponse) {
			n++
			for i := range r.Keys {
				r.Keys[i] = string(rune(1000 + n + 100*i))
			}
		}),
		"another caption (": in(func(r *pb.BatchResponse) {
			n++
			for i := range r.Captions {
				r.Captions[i] = string(rune(1000 + n))
			}
		}),
	} {
		err := drive(t, lie)
		var f *fault.Error
		if !errors.As(err, &f) || f.Plugin != "kind/liar" || !strings.Contains(f.Error(), rule) || !strings.Contains(f.Detail, "its last words") {
			t.Errorf("%s: got %v", rule, err)
			continue
		}
		if want := map[bool]fault.Kind{true: fault.Numeric, false: fault.Internal}[strings.Contains(f.Msg, " gave ")]; f.Kind != want {
			t.Errorf("%s: kind %s, want %s", rule, f.Kind, want)
		}
	}
}

// A slot that is named otherwise than the request did is no answer, whatever the generation.
func TestAnswersInAnotherSlotAreRefused(t *testing.T) {
	for _, change := range []func(*pb.Tensor){
		func(x *pb.Tensor) { x.Offset += 4096 }, func(x *pb.Tensor) { x.Offset = 1 << 60 }, func(x *pb.Tensor) { x.Generation++ },
		func(x *pb.Tensor) { x.Arena = 0 }, func(x *pb.Tensor) { x.Shape[1]-- }, func(x *pb.Tensor) { x.Dtype = pb.DType_I32 },
	} {
		arena := newArena(t)
		conn := NewConn(&liar{lie: in(func(r *pb.ForwardResponse) {
			x := &pb.Tensor{Dtype: r.Embedding.Dtype, Shape: append([]int64(nil), r.Embedding.Shape...), Arena: r.Embedding.Arena,
				Offset: r.Embedding.Offset, Generation: r.Embedding.Generation}
			change(x)
			r.Embedding = x
		})}, ConnConfig{Plugin: "encoders/liar", Arena: arena})
		e := EncoderClient(conn)
		if _, err := e.Configure(t.Context(), clip.EncoderConfig{EmbedDim: 2}); err != nil {
			t.Fatal(err)
		}
		_, _, err := e.Forward(t.Context(), clip.ForwardRequest{Texts: []string{"a"}})
		if fault.KindOf(err) != fault.Internal || !strings.Contains(err.Error(), "encoders/liar: Forward broke a rule") {
			t.Errorf("got %v", err)
		}
		if n := arena.Stats().Slots; n != 0 {
			t.Errorf("%d slots are still in use", n)
		}
	}
}

// What Save wrote is looked at: nothing, garbage and fewer numbers than there are parameters are no checkpoint.
func TestWhatSaveWroteIsChecked(t *testing.T) {
	for rule, write := range map[string]func(path string) error{
		"wrote no ":           func(string) error { return nil },
		"no safetensors file": func(path string) error { return os.WriteFile(path, []byte("garbage"), 0o644) },
		"holds 2 numbers, and Configure": func(path string) error {
			return weights.Write(path, []weights.Tensor{weights.FromF32("w", []float32{1, 2}, 2)}, nil)
		},
		"is no file": func(path string) error { return os.Mkdir(path, 0o755) },
		"": func(path string) error {
			return weights.Write(path, []weights.Tensor{weights.FromF32("w", []float32{1, 2, 3}, 3)}, nil)
		},
	} {
		e := EncoderClient(lying(func(request, _ any) {
			if q, ok := request.(*pb.FileRequest); ok {
				if err := write(q.Path); err != nil {
					t.Error(err)
				}
			}
		}))
		if _, err := e.Configure(t.Context(), clip.EncoderConfig{EmbedDim: 2}); err != nil {
			t.Fatal(err)
		}
		err := e.Save(t.Context(), t.TempDir()+"/w.safetensors")
		if rule == "" && err != nil || rule != "" && (err == nil || !strings.Contains(err.Error(), rule) || !strings.Contains(err.Error(), "kind/liar")) {
			t.Errorf("%q: got %v", rule, err)
		}
	}
}

// One sample is read twice after batches 1, 2, 4 and 8 only, so that it costs nothing.
func TestSamplesAreReadAgainNowAndThen(t *testing.T) {
	l := &liar{}
	d := DatasetClient(NewConn(l, ConnConfig{Plugin: "datasets/count"}))
	if _, err := d.Configure(t.Context(), clip.DatasetConfig{ImageSize: 2}); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if _, err := d.Batch(t.Context(), clip.BatchRequest{Indices: []int{1, 2}, Train: true}); err != nil {
			t.Fatal(err)
		}
	}
	if l.reads != 14 {
		t.Errorf("%d reads for 10 batches, want 14", l.reads)
	}
}
