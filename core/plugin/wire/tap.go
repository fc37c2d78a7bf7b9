package wire

import (
	"context"
	"fmt"
	"path"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"tandem/core/fault"
	"tandem/core/plugin/wire/pb"
	"tandem/core/tensor"
)

// Heard describes a call as it went over the wire, with everything in it: tensors that lay in shared memory have their
// elements. Those that a request only names a place for, in fields whose names begin with out, have a type and a shape.
type Heard struct {
	Method   string // /tandem.v1.Loss/Compute
	Request  proto.Message
	Response proto.Message // nil after an error
	Err      error         // a fault
	Start    time.Time
	Took     time.Duration // as the caller waited
}

// tapped is a connection whose calls are told.
type tapped struct {
	grpc.ClientConnInterface
	arena *Arena
	tell  func(Heard)
}

// Invoke makes a call and tells it. The memory that it uses is the caller's until Invoke returns.
func (t tapped) Invoke(ctx context.Context, method string, request, response any, o ...grpc.CallOption) error {
	h := Heard{Method: method, Start: time.Now()}
	if m, ok := request.(proto.Message); ok {
		h.Request = t.arena.inline(m)
	}
	start := time.Now()
	err := t.ClientConnInterface.Invoke(ctx, method, request, response, o...)
	h.Took = time.Since(start)
	if err != nil {
		h.Err = FromStatus(err)
	} else if m, ok := response.(proto.Message); ok {
		h.Response = t.arena.inline(m)
	}
	t.tell(h)
	return err
}

// inline returns a copy of a message whose tensors have their elements. What names no slot that there is stays as it is:
// it is a lie, which the checks of answers report. A picture that may be copied in advance is left out.
func (a *Arena) inline(m proto.Message) proto.Message {
	out := proto.Clone(m)
	if a == nil {
		return out
	}
	w := a.Window()
	if q, ok := out.(*pb.ForwardRequest); ok {
		q.Next, q.NextId = nil, 0
	}
	eachTensor(out.ProtoReflect(), func(place string, t *pb.Tensor) {
		if isPlace(place) {
			t.Offset, t.Generation, t.Inline = 0, 0, nil
			return
		}
		if own, err := w.tensor(t); err == nil && t.Arena != 0 {
			t.Arena, t.Offset, t.Generation, t.Inline = 0, 0, 0, append([]byte(nil), own.Data...)
		}
	})
	return out
}

// isPlace reports whether a field of a request says where a tensor of the answer goes.
func isPlace(field string) bool { return strings.HasPrefix(field, "out") }

// eachTensor calls f with every tensor in a message and the name of the field that holds it.
func eachTensor(m protoreflect.Message, f func(field string, t *pb.Tensor)) {
	visit := func(name string, m protoreflect.Message) {
		if t, ok := m.Interface().(*pb.Tensor); ok {
			f(name, t)
			return
		}
		eachTensor(m, f)
	}
	m.Range(func(d protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		name := string(d.Name())
		switch {
		case d.IsMap() && d.MapValue().Message() != nil:
			v.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool { visit(name, v.Message()); return true })
		case d.IsList() && d.Message() != nil:
			for i := range v.List().Len() {
				visit(name, v.List().Get(i).Message())
			}
		case !d.IsMap() && !d.IsList() && d.Message() != nil:
			visit(name, v.Message())
		}
		return true
	})
}

// newMessages returns an empty request to a method, such as /tandem.v1.Loss/Compute, and an empty answer of it.
func newMessages(method string) (request, response proto.Message, err error) {
	service, name, _ := strings.Cut(strings.TrimPrefix(method, "/"), "/")
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service))
	if err != nil {
		return nil, nil, fault.New(fault.Invalid, "the protocol of this runner has no service %q", service)
	}
	s, ok := d.(protoreflect.ServiceDescriptor)
	if !ok || s.Methods().ByName(protoreflect.Name(name)) == nil {
		return nil, nil, fault.New(fault.Invalid, "the protocol of this runner has no method %q", method)
	}
	of := s.Methods().ByName(protoreflect.Name(name))
	in, inErr := protoregistry.GlobalTypes.FindMessageByName(of.Input().FullName())
	out, outErr := protoregistry.GlobalTypes.FindMessageByName(of.Output().FullName())
	if inErr != nil || outErr != nil {
		return nil, nil, fault.New(fault.Internal, "the messages of %s are not compiled in", method)
	}
	return in.New().Interface(), out.New().Interface(), nil
}

// ParseHeard reads the messages of a call that was heard; response may be nil.
func ParseHeard(method string, request, response []byte) (q, r proto.Message, err error) {
	if q, r, err = newMessages(method); err != nil {
		return nil, nil, err
	}
	if err := proto.Unmarshal(request, q); err != nil {
		return nil, nil, fault.New(fault.Corrupt, "the request of %s: %w", method, err)
	}
	if response == nil {
		return q, nil, nil
	}
	if err := proto.Unmarshal(response, r); err != nil {
		return nil, nil, fault.New(fault.Corrupt, "the answer of %s: %w", method, err)
	}
	return q, r, nil
}

// Repeat makes a call that was heard once more, to this plugin and with its elements in shared memory where there is some,
// and returns its answer with the elements in it. The rules of answers are not held against it.
func (c *Conn) Repeat(ctx context.Context, method string, request proto.Message) (_ proto.Message, took time.Duration, err error) {
	_, response, err := newMessages(method)
	if err != nil {
		return nil, 0, err
	}
	q := proto.Clone(request)
	use := c.lease()
	var places []*tensor.Tensor
	defer func() {
		use.release()
		for _, t := range places {
			t.Free()
		}
	}()
	var failure error
	if c.arena == nil {
		clearPlaces(q.ProtoReflect())
	} else {
		eachTensor(q.ProtoReflect(), func(field string, t *pb.Tensor) {
			if failure != nil {
				return
			}
			if failure = use.put(isPlace(field), t, &places); failure != nil {
				failure = fmt.Errorf("%s: %w", field, failure)
			}
		})
	}
	if failure != nil {
		return nil, 0, failure
	}
	watched, over := c.begin(ctx, path.Base(method), q)
	start := time.Now()
	err = c.rpc.Invoke(watched, method, q, response, c.limit(path.Base(method)))
	took = time.Since(start)
	if other := over(err); other != nil {
		return nil, took, other
	}
	if err != nil {
		return nil, took, c.explain(ctx, err)
	}
	return c.arena.inline(response), took, nil
}

// put moves a tensor of a request that was heard into shared memory.
func (l *lease) put(place bool, m *pb.Tensor, places *[]*tensor.Tensor) error {
	dtype, shape, _, err := shapeIn(m)
	if err != nil {
		return err
	}
	var ref *pb.Tensor
	if place {
		var t *tensor.Tensor
		if ref, t, err = l.out(dtype, shape...); err == nil {
			*places = append(*places, t)
		}
	} else {
		var t *tensor.Tensor
		if t, err = fromInline(m); err == nil {
			ref, err = l.in(t)
		}
	}
	if err == nil {
		proto.Reset(m)
		proto.Merge(m, ref)
	}
	return err
}

// clearPlaces takes the places of results out of a request: without shared memory answers bring their tensors.
func clearPlaces(m protoreflect.Message) {
	m.Range(func(d protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		_, isTensor := m.Interface().(*pb.Tensor)
		switch {
		case isTensor || d.Message() == nil || d.IsMap():
		case d.IsList():
			for i := range v.List().Len() {
				clearPlaces(v.List().Get(i).Message())
			}
		case isPlace(string(d.Name())):
			m.Clear(d)
		default:
			clearPlaces(v.Message())
		}
		return true
	})
}

// InlineTensor returns the tensor in a message that was heard.
func InlineTensor(m *pb.Tensor) (*tensor.Tensor, error) { return fromInline(m) }
