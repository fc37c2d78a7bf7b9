package tower

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"

	"tandem/core/clip"
	"tandem/core/engine/device"
	"tandem/core/engine/graph"
	"tandem/core/engine/nn"
	"tandem/core/engine/onnx"
	"tandem/core/fault"
)

var _ clip.Exporter = (*encoder)(nil)

// Export implements clip.Exporter. The metadata of the file has the network's config, what pictures are normalised by, and
// the tokenizer of texts.
func (e *encoder) Export(ctx context.Context, format, path string) error {
	const op = "export"
	if err := e.ready(ctx, op); err != nil {
		return err
	}
	if format != clip.FormatONNX {
		return fault.New(fault.Invalid, "unknown format %q", format).WithOp(op).WithHint("%s", clip.FormatONNX)
	}
	source, meta, err := e.exported()
	if err != nil {
		return err
	}
	m, err := onnx.Export(source)
	if err != nil {
		return err
	}
	m.Name, m.Doc = string(e.modality), fmt.Sprintf("the %s encoder of a CLIP model that tandem trained", e.modality)
	m.Metadata = meta
	data, err := m.Encode()
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		return fault.New(fault.Exhausted, "%w", err).WithOp(op)
	}
	return device.Err(e.session.Backend)
}

// exported describes the network for onnx.Export, and what is to know about it.
func (e *encoder) exported() (onnx.Source, []onnx.Property, error) {
	config, err := json.Marshal(e.front.Config())
	if err != nil {
		return onnx.Source{}, nil, fault.New(fault.Internal, "config: %w", err)
	}
	meta := []onnx.Property{{Key: "modality", Value: string(e.modality)}, {Key: "config", Value: string(config)}, {Key: "embed_dim", Value: strconv.Itoa(e.dim)}}
	s := onnx.Source{Input: inputName, Values: e.valuesOf(), Build: func(batch int) (*graph.Node, error) {
		g := nn.NewGraph(e.params.set, graph.Options{})
		n := graph.L2Norm(e.front.network(g, batch, e.front.maxTokens(batch)), normEps)
		return n, g.Err()
	}}
	text, ok := e.front.(*textFront)
	if !ok {
		s.Size = e.front.side()
		s.Indices, err = e.indices(e.front, 0)
		return s, append(meta, onnx.Property{Key: "image_size", Value: strconv.Itoa(s.Size)}), err
	}
	if text.tokenizer == nil {
		return s, nil, fault.New(fault.Conflict, "there is no tokenizer yet").WithOp("export")
	}
	tokenizer, err := text.tokenizer.Save()
	if err != nil {
		return s, nil, err
	}
	s.Text, s.Size, s.Pad, s.EndIsLargest = true, text.ContextLength(), int(text.tokenizer.Pad()), text.tokenizer.EndIsLargest()
	if s.Indices, err = e.indices(text, s.Size); err != nil {
		return s, nil, err
	}
	return s, append(meta, onnx.Property{Key: "context_length", Value: strconv.Itoa(s.Size)}, onnx.Property{Key: "pad_token_id", Value: strconv.Itoa(s.Pad)},
		onnx.Property{Key: "tokenizer", Value: string(tokenizer)}), nil
}

// valuesOf returns a function that reads parameters and running statistics by name.
func (e *encoder) valuesOf() func(string) ([]float32, error) {
	buffers := map[string]device.Buffer{}
	for _, a := range e.values() {
		buffers[a.Name] = a.Buffer
	}
	return func(name string) ([]float32, error) {
		b, ok := buffers[name]
		if !ok {
			return nil, fault.New(fault.Internal, "there is no parameter %s", name).WithOp("export")
		}
		out := make([]float32, b.Len())
		e.session.Backend.Read(out, b)
		return out, nil
	}
}

// indices finds how the inputs that the host fills follow from a batch, of texts that are padded to context tokens, by
// filling them for some.
func (e *encoder) indices(f front, context int) (map[string]onnx.Index, error) {
	const batch = 3
	g := nn.NewGraph(e.params.set, graph.Options{})
	f.network(g, batch, f.maxTokens(batch))
	out := map[string]onnx.Index{}
	for _, x := range g.Filled() {
		fill := func(lengths, ends [batch]int32) []int32 {
			c := &nn.Call{Lengths: lengths[:], Ends: ends[:]}
			for i := range batch + 1 {
				c.Starts = append(c.Starts, int32(i*context))
			}
			dst := make([]int32, x.N)
			x.Fill(dst, c)
			return dst
		}
		switch x.N {
		case batch + 1: // where texts start
			continue
		case batch * context:
			all := int32(context)
			places := fill([batch]int32{all, all, all}, [batch]int32{all - 1, all - 1, all - 1})
			for i, at := range places {
				if int(at) != i%context {
					return nil, notDerived(x.Name)
				}
			}
			out[x.Name] = onnx.Index{Within: true}
		case batch:
			one, none := [batch]int32{1, 1, 1}, [batch]int32{}
			base, longer, later := fill(one, none), fill([batch]int32{2, 2, 2}, none), fill(one, one)
			i := onnx.Index{Step: int(base[1] - base[0]), Lengths: int(longer[0] - base[0]), Ends: int(later[0] - base[0])}
			i.Offset = int(base[0]) - i.Lengths
			lengths, ends := [batch]int32{3, 1, 2}, [batch]int32{2, 0, 1}
			for b, got := range fill(lengths, ends) {
				if int(got) != i.Step*b+i.Lengths*int(lengths[b])+i.Ends*int(ends[b])+i.Offset {
					return nil, notDerived(x.Name)
				}
			}
			out[x.Name] = i
		default:
			return nil, notDerived(x.Name)
		}
	}
	return out, nil
}

func notDerived(input string) error {
	return fault.New(fault.Unavailable, "the network's input %s does not follow from a text alone", input).WithOp("export")
}
