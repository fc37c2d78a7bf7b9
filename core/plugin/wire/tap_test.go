package wire

import (
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/plugin/wire/pb"
	"tandem/core/tensor"
)

// A call is heard with all elements, and repeated with shared memory and without it to the same answer, whichever way it was heard.
func TestACallThatWasHeardIsRepeated(t *testing.T) {
	configure := func(c *Conn) clip.Loss {
		l := LossClient(c)
		if _, err := l.Configure(t.Context(), clip.LossConfig{EmbedDim: 2, Negatives: 2}); err != nil {
			t.Fatal(err)
		}
		return l
	}
	arena := newArena(t)
	shared, inline := serveWide(t, clip.KindLoss, &wide{}, arena, 2), serveWide(t, clip.KindLoss, &wide{}, nil, 2)
	configure(shared)
	configure(inline)
	bothWays(t, func(t *testing.T, over *Arena) {
		var heard []Heard
		w := &wide{}
		told := NewConn(serveWide(t, clip.KindLoss, w, over, 2).rpc, ConnConfig{Plugin: "kind/wide", Arena: over, Tap: func(h Heard) { heard = append(heard, h) }})
		l := configure(told)
		r, err := l.Compute(t.Context(), clip.LossRequest{Train: true, Image: tensor.FromF32([]float32{1, 2, 3, 4}, 2, 2), Text: tensor.FromF32([]float32{5, 6, 7, 8}, 2, 2),
			Inputs: map[string]clip.LossInput{clip.InputTextNegatives: {Value: tensor.FromF32([]float32{1, 2, 3, 4, 5, 6, 7, 8}, 4, 2)}}})
		if err != nil {
			t.Fatal(err)
		}
		r.Free()
		if len(heard) != 2 || heard[1].Method != "/tandem.v1.Loss/Compute" || heard[1].Err != nil || heard[1].Took <= 0 {
			t.Fatalf("heard %+v", heard)
		}
		request, _ := proto.Marshal(heard[1].Request)
		response, _ := proto.Marshal(heard[1].Response)
		q, want, err := ParseHeard(heard[1].Method, request, response)
		if err != nil {
			t.Fatal(err)
		}
		eachTensor(want.ProtoReflect(), func(field string, m *pb.Tensor) {
			if m.Arena != 0 || len(m.Inline) == 0 {
				t.Errorf("%s was heard without its elements", field)
			}
		})
		for name, c := range map[string]*Conn{"shared": shared, "inline": inline} {
			before := arena.Stats().Slots
			got, took, err := c.Repeat(t.Context(), heard[1].Method, q)
			if err != nil || took <= 0 {
				t.Fatal(err)
			}
			if !proto.Equal(untimed(got), untimed(want)) {
				t.Errorf("repeated %s it is\n%v, want\n%v", name, got, want)
			}
			if after := arena.Stats().Slots; after != before {
				t.Errorf("repeated %s, %d slots are left", name, after-before)
			}
		}
	})
}

// untimed returns an answer without how long it took.
func untimed(m proto.Message) proto.Message {
	out := proto.Clone(m).ProtoReflect()
	for _, name := range []string{"kernel_nanos", "start_nanos"} {
		out.Clear(out.Descriptor().Fields().ByName(protoreflect.Name(name)))
	}
	return out.Interface()
}

func TestWhatIsNoCallIsRefused(t *testing.T) {
	for _, method := range []string{"", "/tandem.v1.Loss/Sing", "/tandem.v9.Loss/Compute", "/tandem.v1.LossRequest/Compute"} {
		if _, _, err := ParseHeard(method, nil, nil); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%q gives %v", method, err)
		}
	}
	if _, _, err := ParseHeard("/tandem.v1.Loss/Compute", []byte{0xff}, nil); fault.KindOf(err) != fault.Corrupt {
		t.Errorf("a damaged request gives %v", err)
	}
}
