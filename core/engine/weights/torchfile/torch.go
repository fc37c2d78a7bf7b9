package torchfile

import (
	"math"
	"strconv"
	"strings"

	"tandem/core/engine/weights"
	"tandem/core/fault"
)

// dtypes maps torch's classes of storage and its dtypes to element types.
var dtypes = map[string]weights.DType{
	"FloatStorage": weights.F32, "HalfStorage": weights.F16, "BFloat16Storage": weights.BF16, "DoubleStorage": "F64",
	"LongStorage": weights.I64, "IntStorage": weights.I32, "ShortStorage": "I16", "CharStorage": "I8", "ByteStorage": weights.U8, "BoolStorage": weights.Bool,
	"float32": weights.F32, "float16": weights.F16, "bfloat16": weights.BF16, "float64": "F64", "int64": weights.I64, "int32": weights.I32,
	"int16": "I16", "int8": "I8", "uint8": weights.U8, "bool": weights.Bool,
}

// functions lists what a pickle of tensors may name beside dtypes and storages. Each is computed here.
var functions = map[global]func(*machine, tuple) (any, error){
	{"collections", "OrderedDict"}:                    (*machine).orderedDict,
	{"torch._utils", "_rebuild_tensor"}:               (*machine).rebuildTensor,
	{"torch._utils", "_rebuild_tensor_v2"}:            (*machine).rebuildTensor,
	{"torch._utils", "_rebuild_parameter"}:            (*machine).first,
	{"torch._utils", "_rebuild_parameter_with_state"}: (*machine).first,
	{"torch.nn.parameter", "Parameter"}:               (*machine).first,
	{"torch", "Size"}:                                 (*machine).first,
	{"torch", "device"}:                               (*machine).first,
	{"_codecs", "encode"}:                             (*machine).first,
	{"torch.jit._pickle", "build_intlist"}:            (*machine).first,
	{"torch.jit._pickle", "build_doublelist"}:         (*machine).first,
	{"torch.jit._pickle", "build_boollist"}:           (*machine).first,
	{"torch.jit._pickle", "build_tensorlist"}:         (*machine).first,
	{"torch.jit._pickle", "restore_type_tag"}:         (*machine).first,
}

// allowed reports whether a pickle may name g.
func (g global) allowed(script bool) bool {
	_, function := functions[g]
	_, dtype := dtypes[g.name]
	return function || dtype && g.module == "torch" || script && (g.module == "__torch__" || strings.HasPrefix(g.module, "__torch__."))
}

// apply returns what a call of g gives.
func (m *machine) apply(g global, args tuple) (any, error) {
	if f := functions[g]; f != nil {
		return f(m, args)
	}
	if strings.HasPrefix(g.module, "__torch__") {
		return &object{class: g.module + "." + g.name}, nil
	}
	return nil, m.corrupt("a call of %s", g)
}

// first stands for functions that give their first argument another class.
func (m *machine) first(args tuple) (any, error) {
	if len(args) == 0 {
		return tuple{}, nil
	}
	return args[0], nil
}

func (m *machine) orderedDict(args tuple) (any, error) {
	d := &dict{}
	if len(args) == 0 {
		return d, nil
	}
	pairs, ok := args[0].(*list)
	if !ok {
		return nil, m.corrupt("an OrderedDict of what is no list")
	}
	for _, p := range pairs.items {
		switch p := p.(type) {
		case tuple:
			if err := m.setAll(d, p[:min(len(p), 2)]); err != nil {
				return nil, err
			}
		case *list:
			if err := m.setAll(d, p.items[:min(len(p.items), 2)]); err != nil {
				return nil, err
			}
		default:
			return nil, m.corrupt("an OrderedDict of what are no pairs")
		}
	}
	return d, nil
}

// storage reads a persistent id: ("storage", class, key, device, elements, …).
func (m *machine) storage(id any) (*storage, error) {
	t, ok := id.(tuple)
	if !ok || len(t) < 5 || t[0] != "storage" {
		return nil, m.corrupt("a reference to what is no storage")
	}
	class, ok1 := t[1].(global)
	key, ok2 := t[2].(string)
	n, ok3 := t[4].(int64)
	dtype := dtypes[class.name]
	switch {
	case !ok1 || !ok2 || !ok3 || n < 0 || strings.ContainsAny(key, "/\\"):
		return nil, m.corrupt("a reference to a storage that makes no sense")
	case dtype == "":
		return nil, fault.New(fault.Invalid, "a storage of %s, whose elements nothing here reads", class)
	case n > math.MaxInt64/8:
		return nil, m.corrupt("a storage of %d elements", n)
	}
	if len(t) > 5 && t[5] != nil {
		return nil, fault.New(fault.Invalid, "a storage that is a part of another one, as PyTorch before 0.4 wrote").
			WithHint("load and save it with a newer PyTorch")
	}
	if known, named := m.dtypes[key]; named && known != dtype {
		return nil, m.corrupt("the storage %q of %s, which is of %s too", key, dtype, known)
	}
	m.dtypes[key] = dtype
	return &storage{dtype: dtype, key: key, size: int(n)}, nil
}

// rebuildTensor reads (storage, offset, shape, strides, …).
func (m *machine) rebuildTensor(args tuple) (any, error) {
	if len(args) < 4 {
		return nil, m.corrupt("a tensor of %d facts", len(args))
	}
	s, ok1 := args[0].(*storage)
	offset, ok2 := args[1].(int64)
	shape, ok3 := sizes(args[2])
	stride, ok4 := sizes(args[3])
	if !ok1 || !ok2 || !ok3 || !ok4 || len(shape) != len(stride) || offset < 0 {
		return nil, m.corrupt("a tensor whose facts make no sense")
	}
	t := &tensor{storage: s, offset: int(offset), shape: shape, stride: stride}
	if err := t.check(); err != nil {
		return nil, err
	}
	return t, nil
}

// maxAxes bounds the axes of a tensor, as safetensors does.
const maxAxes = 32

func sizes(v any) ([]int, bool) {
	items, ok := v.(tuple)
	if l, is := v.(*list); is {
		items, ok = l.items, true
	}
	out := make([]int, 0, min(len(items), maxAxes))
	for _, item := range items {
		n, is := item.(int64)
		if !is || n < 0 || len(out) == maxAxes {
			return nil, false
		}
		out = append(out, int(n))
	}
	return out, ok
}

// check refuses a tensor that reaches beyond its storage, or has more elements than that.
func (t *tensor) check() error {
	count, last := 1, t.offset
	for i, n := range t.shape {
		if n == 0 {
			return nil
		}
		if count > t.storage.size/n {
			return fault.New(fault.Corrupt, "a tensor %v with strides %v of a storage of %d elements", t.shape, t.stride, t.storage.size).
				WithHint("a view that repeats elements is not read: make it contiguous with Python and save it again")
		}
		count *= n
		if last >= t.storage.size || t.stride[i] > 0 && n-1 > (t.storage.size-1-last)/t.stride[i] {
			return fault.New(fault.Corrupt, "a tensor %v with strides %v from element %d on, of a storage of %d", t.shape, t.stride, t.offset, t.storage.size)
		}
		last += (n - 1) * t.stride[i]
	}
	if last >= t.storage.size {
		return fault.New(fault.Corrupt, "a tensor at element %d of a storage of %d", t.offset, t.storage.size)
	}
	return nil
}

// contiguous reports whether the elements lie one after the other, row-major.
func (t *tensor) contiguous() bool {
	expected := 1
	for i := len(t.shape) - 1; i >= 0; i-- {
		if t.shape[i] != 1 && t.stride[i] != expected {
			return false
		}
		expected *= t.shape[i]
	}
	return true
}

func (t *tensor) elements() int {
	n := 1
	for _, d := range t.shape {
		n *= d
	}
	return n
}

// gather returns the elements row-major, each of size bytes, of the bytes of the storage.
func (t *tensor) gather(from []byte, size int) []byte {
	out := make([]byte, 0, t.elements()*size)
	at, place := make([]int, len(t.shape)), t.offset
	for range t.elements() {
		out = append(out, from[place*size:(place+1)*size]...)
		for axis := len(at) - 1; axis >= 0; axis-- {
			at[axis]++
			place += t.stride[axis]
			if at[axis] < t.shape[axis] {
				break
			}
			place -= at[axis] * t.stride[axis]
			at[axis] = 0
		}
	}
	return out
}

// named is a tensor with its place among dicts, lists and modules.
type named struct {
	name string
	*tensor
}

// flatten lists the tensors of a value, named by the keys on the way to them: state_dict.visual.proj.
func flatten(v any) (found []named, err error) {
	open, visited, names := map[any]bool{}, 0, 0
	var walk func(path []string, v any) error
	walk = func(path []string, v any) error {
		if visited++; visited > maxValues {
			return fault.New(fault.Corrupt, "more than %d values", maxValues)
		}
		switch v.(type) {
		case *dict, *list, *object:
			if open[v] || len(path) > maxDepth {
				return fault.New(fault.Corrupt, "%s contains itself, or lies deeper than %d", strings.Join(path[:min(len(path), 5)], "."), maxDepth)
			}
			open[v] = true
			defer delete(open, v)
		case tuple:
			if len(path) > maxDepth {
				return fault.New(fault.Corrupt, "%s lies deeper than %d", strings.Join(path[:5], "."), maxDepth)
			}
		}
		each := func(items []any) error {
			for i, item := range items {
				if err := walk(append(path, strconv.Itoa(i)), item); err != nil {
					return err
				}
			}
			return nil
		}
		switch v := v.(type) {
		case *tensor:
			name := strings.Join(path, ".")
			if names += len(name); names > maxNames { // a key may stand in the names of many
				return fault.New(fault.Corrupt, "names of more than %d bytes together", maxNames)
			}
			found = append(found, named{name, v})
		case *object:
			return walk(path, v.state)
		case tuple:
			return each(v)
		case *list:
			return each(v.items)
		case *dict:
			for i, key := range v.keys {
				name, ok := key.(string)
				if n, is := key.(int64); is {
					name, ok = strconv.FormatInt(n, 10), true
				}
				if !ok {
					continue
				}
				if err := walk(append(path, name), v.values[i]); err != nil {
					return err
				}
			}
		}
		return nil
	}
	err = walk(nil, v)
	return found, err
}
