package tape

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"tandem/core/plugin/wire"
	"tandem/core/plugin/wire/pb"
	"tandem/core/tensor"
)

// Difference says where an answer first differs from the one on the tape.
type Difference struct {
	Field string `json:"field"` // embedding[3, 17], parts["image_to_text"]; "error" for one that only one of them is
	Tape  string `json:"tape"`
	Now   string `json:"now"`
	// Elements counts the numbers of the answer that differ, and Most is the largest distance of two of them.
	Elements int     `json:"elements"`
	Most     float64 `json:"most"`
}

// unlike collects the differences of an answer.
type unlike struct {
	tolerance float64
	first     *Difference
	elements  int
	most      float64
}

// timings lists the fields of answers that say how long something took or what it cost, and differ always.
var timings = map[protoreflect.Name]bool{"kernel_nanos": true, "start_nanos": true, "work": true}

// Compare returns how an answer differs from that on the tape; nil when it does not. Numbers are equal when their bits are,
// or when they are no further apart than tolerance × the larger of 1 and the one on the tape. Tickets differ in whether there
// is one.
func Compare(tape, now proto.Message, tolerance float64) *Difference {
	u := &unlike{tolerance: tolerance}
	u.message("", tape.ProtoReflect(), now.ProtoReflect())
	if u.first != nil {
		u.first.Elements, u.first.Most = u.elements, u.most
	}
	return u.first
}

func (u *unlike) differ(field, tape, now string) {
	if u.first == nil {
		u.first = &Difference{Field: strings.TrimPrefix(field, "."), Tape: tape, Now: now}
	}
}

func (u *unlike) message(at string, a, b protoreflect.Message) {
	if ta, ok := a.Interface().(*pb.Tensor); ok {
		u.tensor(at, ta, b.Interface().(*pb.Tensor))
		return
	}
	fields := a.Descriptor().Fields()
	for i := range fields.Len() {
		d := fields.Get(i)
		field := at + "." + string(d.Name())
		switch {
		case timings[d.Name()]:
		case d.HasPresence() && a.Has(d) != b.Has(d):
			u.differ(field, presence(a.Has(d)), presence(b.Has(d)))
		case d.HasPresence() && !a.Has(d):
		case d.IsMap():
			u.maps(field, d.MapValue(), a.Get(d).Map(), b.Get(d).Map())
		case d.IsList():
			u.lists(field, d, a.Get(d).List(), b.Get(d).List())
		case d.Name() == "ticket":
			if (a.Get(d).Uint() == 0) != (b.Get(d).Uint() == 0) {
				u.differ(field, fmt.Sprint(a.Get(d)), fmt.Sprint(b.Get(d)))
			}
		default:
			u.value(field, d, a.Get(d), b.Get(d))
		}
	}
}

func presence(has bool) string {
	if has {
		return "there"
	}
	return "absent"
}

func (u *unlike) maps(at string, d protoreflect.FieldDescriptor, a, b protoreflect.Map) {
	keys := map[string]protoreflect.MapKey{}
	collect := func(k protoreflect.MapKey, _ protoreflect.Value) bool { keys[k.String()] = k; return true }
	a.Range(collect)
	b.Range(collect)
	var names []string
	for name := range keys {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		k, field := keys[name], fmt.Sprintf("%s[%q]", at, name)
		if a.Has(k) != b.Has(k) {
			u.differ(field, presence(a.Has(k)), presence(b.Has(k)))
			continue
		}
		u.value(field, d, a.Get(k), b.Get(k))
	}
}

func (u *unlike) lists(at string, d protoreflect.FieldDescriptor, a, b protoreflect.List) {
	if a.Len() != b.Len() {
		u.differ(at, fmt.Sprintf("%d values", a.Len()), fmt.Sprintf("%d values", b.Len()))
		return
	}
	for i := range a.Len() {
		u.value(fmt.Sprintf("%s[%d]", at, i), d, a.Get(i), b.Get(i))
	}
}

// value compares what is no list and no map.
func (u *unlike) value(at string, d protoreflect.FieldDescriptor, a, b protoreflect.Value) {
	switch d.Kind() {
	case protoreflect.MessageKind:
		u.message(at, a.Message(), b.Message())
	case protoreflect.DoubleKind, protoreflect.FloatKind:
		u.number(func() string { return at }, a.Float(), b.Float())
	case protoreflect.BytesKind:
		if string(a.Bytes()) != string(b.Bytes()) {
			u.differ(at, fmt.Sprintf("%d bytes", len(a.Bytes())), fmt.Sprintf("%d other bytes", len(b.Bytes())))
		}
	default:
		if !a.Equal(b) {
			u.differ(at, quoteShort(a.String()), quoteShort(b.String()))
		}
	}
}

func quoteShort(s string) string { return fmt.Sprintf("%.80q", s) }

// number compares two numbers; their names are made where they differ only.
func (u *unlike) number(at func() string, a, b float64) {
	if math.Float64bits(a) == math.Float64bits(b) {
		return
	}
	away := math.Abs(a - b)
	if u.tolerance > 0 && (a == b || away <= u.tolerance*max(1, math.Abs(a)) || math.IsNaN(a) && math.IsNaN(b)) {
		return
	}
	u.elements++
	u.most = max(u.most, cmp.Or(away, 0))
	if u.first == nil {
		u.differ(at(), fmt.Sprintf("%.9g", a), fmt.Sprintf("%.9g", b))
	}
}

func (u *unlike) tensor(at string, a, b *pb.Tensor) {
	kind := func(t *pb.Tensor) string { return fmt.Sprintf("%v %v", t.Dtype, t.Shape) }
	if a.Dtype != b.Dtype || !slices.Equal(a.Shape, b.Shape) {
		u.differ(at, kind(a), kind(b))
		return
	}
	ta, errA := wire.InlineTensor(a)
	tb, errB := wire.InlineTensor(b)
	if errA != nil || errB != nil {
		u.differ(at, cmp.Or(text(errA), kind(a)), cmp.Or(text(errB), kind(b)))
		return
	}
	index := func(i int) string {
		where := make([]string, len(a.Shape))
		for k := len(a.Shape) - 1; k >= 0; k-- {
			n := max(1, int(a.Shape[k]))
			where[k], i = fmt.Sprint(i%n), i/n
		}
		return at + "[" + strings.Join(where, ", ") + "]"
	}
	switch ta.DType {
	case tensor.F32:
		va, vb := ta.F32(), tb.F32()
		for i := range va {
			if math.Float32bits(va[i]) != math.Float32bits(vb[i]) {
				u.number(func() string { return index(i) }, float64(va[i]), float64(vb[i]))
			}
		}
	case tensor.I32:
		vb := tb.I32()
		for i, v := range ta.I32() {
			if v != vb[i] {
				u.number(func() string { return index(i) }, float64(v), float64(vb[i]))
			}
		}
	case tensor.U8:
		vb := tb.U8()
		for i, v := range ta.U8() {
			if v != vb[i] {
				u.number(func() string { return index(i) }, float64(v), float64(vb[i]))
			}
		}
	default: // by their bytes
		size := ta.DType.Size()
		for i := 0; i+size <= len(ta.Data); i += size {
			x, y := ta.Data[i:i+size], tb.Data[i:i+size]
			if string(x) != string(y) {
				u.elements++
				if u.first == nil {
					u.differ(index(i/size), fmt.Sprint(x), fmt.Sprint(y))
				}
			}
		}
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
