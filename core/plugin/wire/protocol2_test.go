package wire

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/tensor"
)

// wide implements all three kinds of plugin with everything that protocol 2 added.
type wide struct {
	optimizer clip.Optimizer
	forward   clip.ForwardRequest
	lora      *clip.LoRA
	lazy      bool // an Export that writes nothing
	tokenGrad []float32
	loss      clip.LossConfig
	compute   clip.LossRequest
	lengths   []int32
}

type wideEncoder struct {
	clip.Encoder
	*wide
}

func (e wideEncoder) Configure(_ context.Context, c clip.EncoderConfig) (clip.EncoderInfo, error) {
	e.wide.optimizer, e.wide.lora = c.Optimizer, c.LoRA
	return clip.EncoderInfo{EmbedDim: 2, Parameters: 1, TokenCount: 3}, nil
}

func (e wideEncoder) Export(_ context.Context, format, path string) error {
	if e.wide.lazy {
		return nil
	}
	return os.WriteFile(path, []byte(format), 0o600)
}

func (e wideEncoder) ForwardTokens(_ context.Context, q clip.ForwardRequest) (clip.TokenOutput, clip.Ticket, error) {
	e.wide.forward = q
	out := clip.TokenOutput{Embedding: q.Into, Tokens: q.IntoTokens, Lengths: q.IntoLengths}
	if q.Into == nil {
		b := len(q.Texts)
		out = clip.TokenOutput{Embedding: tensor.New(tensor.F32, b, 2), Tokens: tensor.New(tensor.F32, b, 3, 2), Lengths: tensor.New(tensor.I32, b)}
	}
	for i := range out.Lengths.I32() {
		out.Lengths.I32()[i] = int32(1 + i)
		out.Tokens.F32()[6*i] = float32(10 + i)
	}
	return out, 7, nil
}

func (e wideEncoder) BackwardTokens(_ context.Context, t clip.Ticket, grad, tokens *tensor.Tensor) error {
	if t != 7 {
		return fault.New(fault.Conflict, "ticket %d", t)
	}
	e.wide.tokenGrad = slices.Clone(tokens.F32())
	return nil
}

func (e wideEncoder) GradNorm(context.Context) (float64, error) { return 25, nil }

type wideLoss struct {
	clip.Loss
	*wide
}

func (l wideLoss) Configure(_ context.Context, c clip.LossConfig) (clip.LossInfo, error) {
	l.wide.loss = c
	return clip.LossInfo{}, nil
}

// Compute answers with twice every differentiable input as its gradient.
func (l wideLoss) Compute(_ context.Context, q clip.LossRequest) (*clip.LossResult, error) {
	l.wide.compute = q
	for _, input := range q.Inputs {
		if input.Lengths != nil {
			l.wide.lengths = slices.Clone(input.Lengths.I32())
		}
	}
	r := &clip.LossResult{Value: 1, DImage: q.Image.Clone(), DText: q.Text.Clone(), Gradients: map[string]*tensor.Tensor{}}
	for name, input := range q.Inputs {
		if clip.DifferentiableInput(name) {
			g := input.Value.Clone()
			for i := range g.F32() {
				g.F32()[i] *= 2
			}
			r.Gradients[name] = g
		}
	}
	return r, nil
}

type wideDataset struct {
	clip.Dataset
	*wide
}

func (d wideDataset) Configure(context.Context, clip.DatasetConfig) (clip.DatasetInfo, error) {
	return clip.DatasetInfo{Len: 9, Digest: "d", Negatives: 2}, nil
}

func (d wideDataset) Batch(_ context.Context, q clip.BatchRequest) (*clip.Batch, error) {
	b := &clip.Batch{Images: q.Into}
	if q.Into == nil {
		b.Images = tensor.New(tensor.U8, len(q.Indices), 1, 1, 3)
	}
	if q.View2 {
		if b.Images2 = q.Into2; b.Images2 == nil {
			b.Images2 = tensor.New(tensor.U8, len(q.Indices), 1, 1, 3)
		}
	}
	for i, index := range q.Indices {
		b.Captions, b.Keys, b.Groups = append(b.Captions, "c"), append(b.Keys, fmt.Sprint(index)), append(b.Groups, 0)
		if q.Negatives {
			b.Negatives = append(b.Negatives, []string{fmt.Sprint("n", index), "m"})
		}
		b.Images.U8()[3*i] = byte(index)
		if q.View2 {
			b.Images2.U8()[3*i] = byte(100 + index)
		}
	}
	return b, nil
}

// serveWide connects to a wide plugin in this process that speaks a version of the protocol.
func serveWide(t *testing.T, kind clip.Kind, w *wide, arena *Arena, version int) *Conn {
	t.Helper()
	listener := bufconn.Listen(1 << 20)
	g := grpc.NewServer(ServerOptions()...)
	var window *Window
	if arena != nil {
		window = arena.Window()
	}
	server := NewServer(clip.Descriptor{Kind: kind, Name: "wide"}, window)
	switch kind {
	case clip.KindEncoder:
		server.Encoder(g, wideEncoder{nil, w})
	case clip.KindLoss:
		server.Loss(g, wideLoss{nil, w})
	default:
		server.Dataset(g, wideDataset{nil, w})
	}
	go g.Serve(listener)
	t.Cleanup(g.Stop)
	cc, err := grpc.NewClient("passthrough:///wide", append(DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cc.Close() })
	return NewConn(cc, ConnConfig{Plugin: "kind/wide", Arena: arena, Protocol: version})
}

// bothWays runs a test with shared memory and without.
func bothWays(t *testing.T, test func(t *testing.T, arena *Arena)) {
	t.Run("shared", func(t *testing.T) { test(t, newArena(t)) })
	t.Run("inline", func(t *testing.T) { test(t, nil) })
}

func number(v float64) *float64 { return &v }

func TestTokensGroupsAndAveragesCrossTheBorder(t *testing.T) {
	bothWays(t, func(t *testing.T, arena *Arena) {
		w := &wide{}
		e := EncoderClient(serveWide(t, clip.KindEncoder, w, arena, 2))
		optimizer := clip.Optimizer{Name: "adamw", LayerDecay: .75, EMADecay: .999, Groups: []clip.ParamGroup{
			{Params: []string{"visual.*"}, LRScale: number(.1)}, {Params: []string{"proj"}, WeightDecay: number(0)}}}
		info, err := e.Configure(t.Context(), clip.EncoderConfig{EmbedDim: 2, Optimizer: optimizer})
		if err != nil || info.TokenCount != 3 {
			t.Fatalf("%+v, %v", info, err)
		}
		if got := fmt.Sprintf("%v %v %v %v %v", w.optimizer.LayerDecay, w.optimizer.EMADecay, *w.optimizer.Groups[0].LRScale,
			w.optimizer.Groups[0].WeightDecay == nil, *w.optimizer.Groups[1].WeightDecay); got != "0.75 0.999 0.1 true 0" {
			t.Error(got)
		}
		out, ticket, err := e.(clip.TokenEncoder).ForwardTokens(t.Context(), clip.ForwardRequest{Texts: []string{"a", "b"}, Mode: clip.Train})
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(out.Tokens.Shape, out.Tokens.F32()[6], out.Lengths.I32(), ticket); got != "[2 3 2] 11 [1 2] 7" {
			t.Error(got)
		}
		grad, tokens := tensor.New(tensor.F32, 2, 2), tensor.New(tensor.F32, 2, 3, 2)
		tokens.F32()[11] = 5
		sum, err := e.(clip.BackwardTokensNormer).BackwardTokensNorm(t.Context(), ticket, grad, tokens)
		if err != nil || sum != 25 || w.tokenGrad[11] != 5 {
			t.Errorf("sum %v, gradient %v, %v", sum, w.tokenGrad, err)
		}
		freeOutput(&out)
	})
}

func TestFineTuningAndExportCrossTheBorder(t *testing.T) {
	w := &wide{}
	e := EncoderClient(serveWide(t, clip.KindEncoder, w, nil, 2))
	lora := &clip.LoRA{Rank: 4, Alpha: 8, Targets: []string{"*.attn.*"}, Dropout: .1, Train: []string{"proj"}}
	optimizer := clip.Optimizer{Name: "adamw", Groups: []clip.ParamGroup{{Params: []string{"*"}, Start: 20}}}
	if _, err := e.Configure(t.Context(), clip.EncoderConfig{EmbedDim: 2, Optimizer: optimizer, LoRA: lora}); err != nil {
		t.Fatal(err)
	}
	if w.optimizer.Groups[0].Start != 20 || !reflect.DeepEqual(w.lora, lora) {
		t.Errorf("%+v, %+v", w.optimizer, w.lora)
	}
	path := filepath.Join(t.TempDir(), "tower.onnx")
	if err := e.(clip.Exporter).Export(t.Context(), clip.FormatONNX, path); err != nil {
		t.Fatal(err)
	}
	if written, err := os.ReadFile(path); string(written) != clip.FormatONNX {
		t.Errorf("%q, %v", written, err)
	}
	w.lazy = true
	if err := e.(clip.Exporter).Export(t.Context(), clip.FormatONNX, path+"2"); err == nil || !strings.Contains(err.Error(), "wrote no") {
		t.Errorf("an export that wrote nothing: %v", err)
	}
}

func TestFurtherInputsOfALossCrossTheBorder(t *testing.T) {
	bothWays(t, func(t *testing.T, arena *Arena) {
		w := &wide{}
		l := LossClient(serveWide(t, clip.KindLoss, w, arena, 2))
		if _, err := l.Configure(t.Context(), clip.LossConfig{EmbedDim: 2, Negatives: 2, TeacherImageDim: 5, TeacherTextDim: 6}); err != nil {
			t.Fatal(err)
		}
		if w.loss.Negatives != 2 || w.loss.TeacherImageDim != 5 || w.loss.TeacherTextDim != 6 {
			t.Errorf("%+v", w.loss)
		}
		groups, lengths := tensor.New(tensor.I32, 2), tensor.New(tensor.I32, 2)
		groups.I32()[1], lengths.I32()[0], lengths.I32()[1] = 1, 1, 2
		q := clip.LossRequest{Image: tensor.New(tensor.F32, 2, 2), Text: tensor.New(tensor.F32, 2, 2), Train: true, Inputs: map[string]clip.LossInput{
			clip.InputTextNegatives: {Value: tensor.FromF32([]float32{1, 2, 3, 4, 5, 6, 7, 8}, 4, 2)},
			clip.InputGroups:        {Value: groups},
			clip.InputTextTokens:    {Value: tensor.FromF32([]float32{1, 0, 0, 0, 0, 1, 1, 1}, 2, 2, 2), Lengths: lengths},
		}}
		r, err := l.Compute(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Gradients) != 2 || r.Gradients[clip.InputTextNegatives].F32()[7] != 16 || r.Gradients[clip.InputTextTokens].F32()[5] != 2 {
			t.Errorf("gradients %v", r.Gradients)
		}
		if got := fmt.Sprint(len(w.compute.Inputs), w.lengths); got != "3 [1 2]" {
			t.Error(got)
		}
		r.Free()
		q.Train = false
		if r, err := l.Compute(t.Context(), q); err != nil || len(r.Gradients) != 0 {
			t.Errorf("without training: %v, %v", r, err)
		}
	})
}

func TestNegativesAndSecondViewsCrossTheBorder(t *testing.T) {
	bothWays(t, func(t *testing.T, arena *Arena) {
		d := DatasetClient(serveWide(t, clip.KindDataset, &wide{}, arena, 2))
		info, err := d.Configure(t.Context(), clip.DatasetConfig{ImageSize: 1})
		if err != nil || info.Negatives != 2 {
			t.Fatalf("%+v, %v", info, err)
		}
		into := tensor.New(tensor.U8, 2, 1, 1, 3)
		b, err := d.Batch(t.Context(), clip.BatchRequest{Indices: []int{4, 5}, Train: true, Negatives: true, View2: true, Into2: into})
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(b.Negatives, b.Images.U8()[3], b.Images2.U8()[3], b.Images2 == into); got != "[[n4 m] [n5 m]] 5 105 true" {
			t.Error(got)
		}
		b, err = d.Batch(t.Context(), clip.BatchRequest{Indices: []int{4}, Train: true})
		if err != nil || b.Negatives != nil || b.Images2 != nil {
			t.Errorf("nobody asked: %+v, %v", b, err)
		}
	})
}

// A plugin of version 1 would ignore fields that it does not know, and the run would be another than the spec says.
func TestVersion1IsNotAskedForWhatItLacks(t *testing.T) {
	e := EncoderClient(serveWide(t, clip.KindEncoder, &wide{}, nil, 1))
	_, grouped := e.Configure(t.Context(), clip.EncoderConfig{EmbedDim: 2, Optimizer: clip.Optimizer{LayerDecay: .5}})
	if _, err := e.Configure(t.Context(), clip.EncoderConfig{EmbedDim: 2}); err != nil {
		t.Fatal(err)
	}
	_, _, averaged := e.Forward(t.Context(), clip.ForwardRequest{Texts: []string{"a"}, EMA: true})
	l := LossClient(serveWide(t, clip.KindLoss, &wide{}, nil, 1))
	_, configured := l.Configure(t.Context(), clip.LossConfig{Negatives: 1})
	x := tensor.New(tensor.F32, 2, 2)
	_, adapted := e.Configure(t.Context(), clip.EncoderConfig{EmbedDim: 2, LoRA: &clip.LoRA{Rank: 1, Alpha: 1}})
	exported := e.(clip.Exporter).Export(t.Context(), clip.FormatONNX, filepath.Join(t.TempDir(), "x"))
	_, computed := l.Compute(t.Context(), clip.LossRequest{Image: x, Text: x, Inputs: map[string]clip.LossInput{clip.InputGroups: {Value: x}}})
	d := DatasetClient(serveWide(t, clip.KindDataset, &wide{}, nil, 1))
	_, batch := d.Batch(t.Context(), clip.BatchRequest{Indices: []int{0}, Negatives: true})
	for what, err := range map[string]error{"groups": grouped, "averages": averaged, "negatives of a loss": configured, "inputs": computed, "negatives": batch, "LoRA": adapted, "export": exported} {
		if fault.KindOf(err) != fault.Invalid || !strings.Contains(fault.Format(err), "protocol 1") || !strings.Contains(fault.Format(err), "protocol 2") {
			t.Errorf("%s: %v", what, fault.Format(err))
		}
	}
}
