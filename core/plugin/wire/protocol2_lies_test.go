package wire

import (
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	"tandem/core/clip"
	"tandem/core/plugin/wire/pb"
	"tandem/core/tensor"
)

func TestLiesInWhatProtocol2AddedAreFound(t *testing.T) {
	x := func(shape ...int) *tensor.Tensor { return tensor.New(tensor.F32, shape...) }
	compute := func(c *Conn) error {
		_, err := LossClient(c).Compute(t.Context(), clip.LossRequest{Image: x(2, 2), Text: x(2, 2), Train: true,
			Inputs: map[string]clip.LossInput{clip.InputImageView2: {Value: x(2, 2)}}})
		return err
	}
	batch := func(c *Conn) error {
		d := DatasetClient(c)
		if _, err := d.Configure(t.Context(), clip.DatasetConfig{ImageSize: 2}); err != nil {
			return err
		}
		_, err := d.Batch(t.Context(), clip.BatchRequest{Indices: []int{1, 2}, Train: true, Negatives: true, View2: true})
		return err
	}
	forward := func(c *Conn) error {
		e := EncoderClient(c)
		if _, err := e.Configure(t.Context(), clip.EncoderConfig{EmbedDim: 2}); err != nil {
			return err
		}
		_, _, err := e.(clip.TokenEncoder).ForwardTokens(t.Context(), clip.ForwardRequest{Texts: []string{"a"}})
		return err
	}
	// honest fills in what the answers of version 1 lack.
	honest := func(request, reply any) {
		switch r := reply.(type) {
		case *pb.EncoderInfo:
			r.TokenCount = 2
		case *pb.ForwardResponse:
			one := tensor.New(tensor.I32, 1)
			one.I32()[0] = 1
			r.Tokens, r.Lengths = inlineTensor(x(1, 2, 2)), inlineTensor(one)
		case *pb.LossResponse:
			r.Gradients = map[string]*pb.Tensor{clip.InputImageView2: inlineTensor(x(2, 2))}
		case *pb.DatasetInfo:
			r.Negatives = 1
		case *pb.BatchResponse:
			n := len(request.(*pb.BatchRequest).Indices)
			r.Images2 = inlineTensor(tensor.New(tensor.U8, n, 2, 2, 3))
			for range n {
				r.Negatives = append(r.Negatives, &pb.Strings{Values: []string{"n"}})
			}
		}
	}
	for _, c := range []struct {
		want string
		ask  func(*Conn) error
		lie  func(request, reply any)
	}{
		{"", compute, nil},
		{"", batch, nil},
		{"", forward, nil},
		{"lacks the gradient of image_view2", compute, in(func(r *pb.LossResponse) { r.Gradients = nil })},
		{"the gradient of image_view2 is F32 [1 2]", compute, in(func(r *pb.LossResponse) { r.Gradients[clip.InputImageView2] = inlineTensor(x(1, 2)) })},
		{"gradients of 2 further inputs, want 1", compute, in(func(r *pb.LossResponse) { r.Gradients["groups"] = inlineTensor(x(2, 2)) })},
		{"sample 2 has 0 negatives, and Configure said that there are 1", batch, in(func(r *pb.BatchResponse) { r.Negatives[len(r.Negatives)-1].Values = nil })},
		{"0 lists of negatives for 2 samples", batch, in(func(r *pb.BatchResponse) { r.Negatives = nil })},
		{"lacks the second pictures", batch, in(func(r *pb.BatchResponse) { r.Images2 = nil })},
		{"lacks the token output", forward, in(func(r *pb.ForwardResponse) { r.Tokens = nil })},
		{"sample 0 has 0 tokens, want 1 to 2", forward, in(func(r *pb.ForwardResponse) { r.Lengths = inlineTensor(tensor.New(tensor.I32, 1)) })},
		{"is not 0 beyond its 1 tokens", forward, in(func(r *pb.ForwardResponse) {
			r.Tokens = inlineTensor(tensor.FromF32([]float32{1, 1, 0, 1}, 1, 2, 2))
		})},
		{"token_count is -1", forward, in(func(r *pb.EncoderInfo) { r.TokenCount = -1 })},
	} {
		err := c.ask(lying(func(request, reply any) {
			honest(request, reply)
			if c.lie != nil {
				c.lie(request, reply)
			}
		}))
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("want %q, got %v", c.want, err)
		}
	}
}

// A loss that asks for nothing new costs what it did: its requests have no field that version 1 lacks.
func TestARequestWithoutFurtherInputsHasOnlyFieldsOfVersion1(t *testing.T) {
	var fields []string
	conn := lying(func(request, _ any) {
		if q, ok := request.(*pb.LossRequest); ok {
			q.ProtoReflect().Range(func(f protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
				fields = append(fields, string(f.Name()))
				return true
			})
		}
	})
	x := tensor.New(tensor.F32, 2, 2)
	if _, err := LossClient(conn).Compute(t.Context(), clip.LossRequest{Image: x, Text: x, Train: true}); err != nil {
		t.Fatal(err)
	}
	slices.Sort(fields)
	if !slices.Equal(fields, []string{"image", "text", "train"}) {
		t.Error(fields)
	}
}
