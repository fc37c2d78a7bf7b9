package wire

import (
	"context"
	"net"
	"testing"
	"unsafe"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/tensor"
)

// noter implements an encoder that records what it is asked and says that it pins memory.
type noter struct {
	clip.Encoder // nil: the methods that no test calls
	last         clip.ForwardRequest
	planned      []clip.PlanRequest
	config       clip.EncoderConfig
}

func (n *noter) Configure(_ context.Context, c clip.EncoderConfig) (clip.EncoderInfo, error) {
	n.config = c
	return clip.EncoderInfo{EmbedDim: 3, Pins: true}, nil
}

func (n *noter) Forward(_ context.Context, q clip.ForwardRequest) (*tensor.Tensor, clip.Ticket, error) {
	n.last = q
	out := q.Into
	if out == nil {
		out = tensor.New(tensor.F32, q.Images.Shape[0], 3)
	}
	for i := range out.F32() {
		out.F32()[i] = float32(i)
	}
	return out, 0, nil
}

func (n *noter) Plan(_ context.Context, q clip.PlanRequest) (clip.Plan, error) {
	n.planned = append(n.planned, q)
	return clip.Plan{Device: "cuda:1", Free: 7, Total: 8, Least: 5, Parts: []clip.MemoryPart{{Name: "parameters", Bytes: 6}}}, nil
}

// connect serves an encoder in this process.
func connect(t *testing.T, e clip.Encoder, arena *Arena) *Conn {
	t.Helper()
	listener := bufconn.Listen(1 << 20)
	g := grpc.NewServer(ServerOptions()...)
	var window *Window
	if arena != nil {
		window = arena.Window()
	}
	NewServer(clip.Descriptor{Kind: clip.KindEncoder, Name: "noter"}, window).Encoder(g, e)
	go g.Serve(listener)
	t.Cleanup(g.Stop)
	cc, err := grpc.NewClient("passthrough:///noter", append(DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cc.Close() })
	return NewConn(cc, ConnConfig{Plugin: "encoders/noter", Arena: arena, Watch: func(ctx context.Context, _ string, _ any) (context.Context, func(error) error) {
		watched, cancel := context.WithCancel(ctx)
		return watched, func(error) error { cancel(); return nil }
	}})
}

func TestNextPicturesAndPlaceOfTheResultCrossTheBorder(t *testing.T) {
	arena, n := newArena(t), &noter{}
	e := EncoderClient(connect(t, n, arena))
	info, err := e.Configure(t.Context(), clip.EncoderConfig{EmbedDim: 3, Compute: clip.Compute{MemoryLimit: 1 << 33}})
	if err != nil {
		t.Fatal(err)
	}
	if !info.Pins || n.config.Compute.MemoryLimit != 1<<33 {
		t.Errorf("%+v, %+v", info, n.config.Compute)
	}
	now, next := picture(t, arena, 1), picture(t, arena, 2)
	out, _, err := e.Forward(t.Context(), clip.ForwardRequest{Images: now, ID: 4, Next: next, NextID: 5})
	if err != nil {
		t.Fatal(err)
	}
	q := n.last
	if q.ID != 4 || q.NextID != 5 || q.Next == nil || q.Next.U8()[0] != 2 {
		t.Errorf("the encoder saw ids %d and %d, next %+v", q.ID, q.NextID, q.Next)
	}
	if q.Into == nil || &q.Into.Data[0] != &out.Data[0] || out.F32()[2] != 2 {
		t.Error("the encoder did not write to where the result is")
	}
	for _, x := range []*tensor.Tensor{q.Images, q.Next, q.Into} {
		at := uintptr(unsafe.Pointer(&x.Pages[0]))
		if at%pageBytes != 0 || len(x.Pages)%pageBytes != 0 || uintptr(unsafe.Pointer(&x.Data[0]))-at != headerBytes || len(x.Data)+headerBytes > len(x.Pages) {
			t.Errorf("%d bytes in pages of %d at %x", len(x.Data), len(x.Pages), at)
		}
	}
	for _, x := range []*tensor.Tensor{now, next, out} {
		x.Free()
	}

	heap := tensor.New(tensor.U8, 2, 4, 4, 3) // has no memory that could be read later
	if _, _, err := e.Forward(t.Context(), clip.ForwardRequest{Images: heap, ID: 6, Next: heap, NextID: 7}); err != nil {
		t.Fatal(err)
	}
	if n.last.ID != 6 || n.last.Next != nil || n.last.NextID != 0 {
		t.Errorf("pictures outside shared memory are announced: %+v", n.last)
	}
}

func picture(t *testing.T, a *Arena, v byte) *tensor.Tensor {
	t.Helper()
	x, err := a.Alloc(tensor.U8, 2, 4, 4, 3)
	if err != nil {
		t.Fatal(err)
	}
	for i := range x.U8() {
		x.U8()[i] = v
	}
	return x
}

func TestNextPicturesThatAreGoneAreNoFault(t *testing.T) {
	arena, n := newArena(t), &noter{}
	conn := connect(t, n, arena)
	e := EncoderClient(conn)
	if _, err := e.Configure(t.Context(), clip.EncoderConfig{EmbedDim: 3}); err != nil {
		t.Fatal(err)
	}
	now, next := picture(t, arena, 1), picture(t, arena, 2)
	was := next.Shared.(*slot)
	next.Shared = &slot{arena: arena, offset: was.offset, generation: was.generation + 1} // as one that was given to somebody else meanwhile
	if _, _, err := e.Forward(t.Context(), clip.ForwardRequest{Images: now, ID: 1, Next: next, NextID: 2}); err != nil || n.last.Next != nil {
		t.Errorf("%v, next %v", err, n.last.Next)
	}
}

func TestPlanIsBeforeConfigure(t *testing.T) {
	n := &noter{}
	conn := connect(t, n, nil)
	f, err := conn.Plan(t.Context(), clip.PlanRequest{Encoder: &clip.EncoderConfig{EmbedDim: 9}, Batch: 3, EvalBatch: 2, Accumulate: true, Tokens: true, Parts: 4})
	if err != nil {
		t.Fatal(err)
	}
	if f.Device != "cuda:1" || f.Free != 7 || f.Total != 8 || f.Least != 5 || f.Needed() != 6 {
		t.Errorf("got %+v", f)
	}
	if q := n.planned[0]; q.Encoder == nil || q.Encoder.EmbedDim != 9 || q.Loss != nil || q.Batch != 3 || q.EvalBatch != 2 || !q.Accumulate || !q.Tokens || q.Parts != 4 {
		t.Errorf("the plugin was asked %+v", q)
	}
	if _, err := EncoderClient(conn).Configure(t.Context(), clip.EncoderConfig{EmbedDim: 3}); err != nil {
		t.Fatalf("after a plan: %v", err)
	}
	if _, err := conn.Plan(t.Context(), clip.PlanRequest{}); fault.KindOf(err) != fault.Conflict {
		t.Errorf("after Configure: %v, want a conflict", err)
	}
	type silent struct{ clip.Encoder }
	if f, err := connect(t, silent{}, nil).Plan(t.Context(), clip.PlanRequest{}); f != nil || err != nil {
		t.Errorf("a plugin that does not say: %v, %v", f, err)
	}
}

// counter implements an encoder whose texts have as many tokens as bytes.
type counter struct {
	noter
	wrong bool
}

func (c *counter) CountTokens(_ context.Context, _ *clip.EncoderConfig, texts []string) (tokens []int, limit int, err error) {
	for _, t := range texts {
		tokens = append(tokens, len(t))
	}
	if c.wrong {
		tokens = append(tokens, 1)
	}
	return tokens, 3, nil
}

func TestTokensAreCountedWhereTheEncoderKnows(t *testing.T) {
	count := func(e clip.Encoder) ([]int, int, error) {
		return EncoderClient(connect(t, e, nil)).(clip.TokenCounter).CountTokens(t.Context(), &clip.EncoderConfig{}, []string{"four", "", "a"})
	}
	if tokens, limit, err := count(&counter{}); err != nil || limit != 3 || len(tokens) != 3 || tokens[0] != 4 || tokens[1] != 0 {
		t.Errorf("%v of at most %d (%v)", tokens, limit, err)
	}
	if _, _, err := count(&noter{}); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("an encoder that does not count: %v", err)
	}
	if _, _, err := count(&counter{wrong: true}); fault.KindOf(err) != fault.Internal {
		t.Errorf("four numbers for three texts: %v", err)
	}
}

// TestPinnedPagesStay frees more than an arena keeps: without Pin the pages go back to the system.
func TestPinnedPagesStay(t *testing.T) {
	for _, pinned := range []bool{false, true} {
		arena := newArena(t)
		if pinned {
			arena.Pin()
		}
		var list []*tensor.Tensor
		for range 3 {
			x, err := arena.Alloc(tensor.U8, warmBytes/2)
			if err != nil {
				t.Fatal(err)
			}
			x.Data[100] = 7
			list = append(list, x)
		}
		window := arena.Window()
		at := list[2].Shared.(*slot).offset
		for _, x := range list {
			x.Free()
		}
		if stays := window.mem[at+100] == 7; stays != pinned {
			t.Errorf("pinned %v: the last block's pages stay: %v", pinned, stays)
		}
	}
}
