package torchfile

import (
	"encoding/binary"
	"math"
	"math/big"
	"slices"
	"strconv"
	"unicode/utf8"

	"tandem/core/engine/weights"
	"tandem/core/fault"
)

// Bounds of what a pickle may build. The largest models of the field stay a hundred times below them.
const (
	maxOperations = 20 << 20
	maxValues     = 4 << 20 // that are looked through for tensors; a value that is in two places counts twice
	maxDepth      = 64
)

// The values of a pickle are nil, bool, int64, *big.Int, float64, string, []byte and these.
type (
	tuple  []any
	list   struct{ items []any }
	dict   struct{ keys, values []any }
	object struct { // of a TorchScript class
		class string
		state any
	}
	global  struct{ module, name string }
	storage struct {
		dtype weights.DType
		key   string
		size  int // in elements
	}
	tensor struct {
		storage *storage
		offset  int
		shape   []int
		stride  []int
	}
	mark struct{}
)

func (d *dict) set(key, value any) {
	d.keys, d.values = append(d.keys, key), append(d.values, value)
}

// machine runs a pickle (Python's pickletools documents the format). It calls nothing: functions that a state dict needs
// are computed here, and every other name is refused.
type machine struct {
	data   []byte
	at     int
	stack  []any
	memo   map[int]any
	script bool                     // classes of TorchScript are allowed
	dtypes map[string]weights.DType // of the storages that were named, by key
	steps  int
}

// newMachine returns a machine for the pickle at the beginning of data.
func newMachine(data []byte) *machine {
	return &machine{data: data, memo: map[int]any{}, dtypes: map[string]weights.DType{}}
}

// run returns the value of the pickle. m.at is then its length.
func (m *machine) run() (any, error) {
	for {
		done, err := m.step()
		if err != nil {
			return nil, err
		}
		if done {
			return m.pop()
		}
	}
}

func (m *machine) corrupt(format string, args ...any) error {
	return fault.New(fault.Corrupt, "pickle, byte %d: "+format, append([]any{m.at}, args...)...)
}

func (m *machine) take(n int) ([]byte, error) {
	if n < 0 || n > len(m.data)-m.at {
		return nil, m.corrupt("%d bytes are missing", n-(len(m.data)-m.at))
	}
	m.at += n
	return m.data[m.at-n : m.at], nil
}

// number reads a little-endian number of n bytes.
func (m *machine) number(n int) (int, error) {
	b, err := m.take(n)
	if err != nil {
		return 0, err
	}
	var wide [8]byte
	copy(wide[:], b)
	v := binary.LittleEndian.Uint64(wide[:])
	if v > math.MaxInt64 {
		return 0, m.corrupt("a length of %d", v)
	}
	return int(v), nil
}

// bytes reads a length of n bytes and so many bytes.
func (m *machine) bytes(n int) ([]byte, error) {
	length, err := m.number(n)
	if err != nil {
		return nil, err
	}
	return m.take(length)
}

func (m *machine) line() (string, error) {
	end := slices.Index(m.data[m.at:], '\n')
	if end < 0 {
		return "", m.corrupt("a line without an end")
	}
	text := string(m.data[m.at : m.at+end])
	m.at += end + 1
	return text, nil
}

func (m *machine) push(v any) { m.stack = append(m.stack, v) }

func (m *machine) pop() (any, error) {
	if len(m.stack) == 0 {
		return nil, m.corrupt("the stack is empty")
	}
	v := m.stack[len(m.stack)-1]
	m.stack = m.stack[:len(m.stack)-1]
	if _, is := v.(mark); is {
		return nil, m.corrupt("a mark where a value should be")
	}
	return v, nil
}

func (m *machine) popN(n int) ([]any, error) {
	out := make([]any, n)
	for i := n - 1; i >= 0; i-- {
		var err error
		if out[i], err = m.pop(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// popMark takes what lies above the topmost mark.
func (m *machine) popMark() ([]any, error) {
	for i := len(m.stack) - 1; i >= 0; i-- {
		if _, is := m.stack[i].(mark); is {
			items := slices.Clone(m.stack[i+1:])
			m.stack = m.stack[:i]
			return items, nil
		}
	}
	return nil, m.corrupt("no mark")
}

// step runs one operation; done at the end of the pickle.
func (m *machine) step() (done bool, err error) {
	if m.steps++; m.steps > maxOperations {
		return false, m.corrupt("more than %d operations", maxOperations)
	}
	op, err := m.take(1)
	if err != nil {
		return false, err
	}
	if op[0] == '.' {
		return true, nil
	}
	if known, err := m.constant(op[0]); known || err != nil {
		return false, err
	}
	if known, err := m.container(op[0]); known || err != nil {
		return false, err
	}
	return false, m.call(op[0])
}

// constant runs the operations that push numbers and texts, and those of the memo.
func (m *machine) constant(op byte) (known bool, err error) {
	var v any
	var n int
	var b []byte
	var text string
	switch op {
	case 0x80: // PROTO
		_, err = m.take(1)
		return true, err
	case 0x95: // FRAME
		_, err = m.take(8)
		return true, err
	case 'N':
	case 0x88:
		v = true
	case 0x89:
		v = false
	case 'K':
		n, err = m.number(1)
		v = int64(n)
	case 'M':
		n, err = m.number(2)
		v = int64(n)
	case 'J':
		n, err = m.number(4)
		v = int64(int32(n))
	case 0x8a: // LONG1
		if b, err = m.bytes(1); err == nil {
			v = long(b)
		}
	case 'I':
		if text, err = m.line(); err == nil {
			switch text {
			case "00", "01":
				v = text == "01"
			default:
				if v, err = strconv.ParseInt(text, 10, 64); err != nil {
					err = m.corrupt("the number %q", text)
				}
			}
		}
	case 'G':
		if b, err = m.take(8); err == nil {
			v = math.Float64frombits(binary.BigEndian.Uint64(b))
		}
	case 'X', 0x8c, 0x8d, 'T', 'U', 'B', 'C', 0x8e:
		width := map[byte]int{'X': 4, 0x8c: 1, 0x8d: 8, 'T': 4, 'U': 1, 'B': 4, 'C': 1, 0x8e: 8}[op]
		if b, err = m.bytes(width); err != nil {
			return true, err
		}
		switch {
		case op == 'B' || op == 'C' || op == 0x8e:
			v = slices.Clone(b)
		case !utf8.Valid(b):
			err = m.corrupt("a text that is not UTF-8")
		default:
			v = string(b)
		}
	case 'q', 'r', 'p', 0x94: // BINPUT, LONG_BINPUT, PUT, MEMOIZE
		n = len(m.memo)
		if op != 0x94 {
			if n, err = m.index(op, 'q', 'r'); err != nil {
				return true, err
			}
		}
		if v, err = m.pop(); err != nil {
			return true, err
		}
		m.memo[n] = v
	case 'h', 'j', 'g': // BINGET, LONG_BINGET, GET
		if n, err = m.index(op, 'h', 'j'); err != nil {
			return true, err
		}
		var ok bool
		if v, ok = m.memo[n]; !ok {
			return true, m.corrupt("the memo has no entry %d", n)
		}
	default:
		return false, nil
	}
	m.push(v)
	return true, err
}

// index reads the number of a memo's entry: a byte with the operation short, four with wide, else a line.
func (m *machine) index(op, short, wide byte) (int, error) {
	switch op {
	case short:
		return m.number(1)
	case wide:
		return m.number(4)
	}
	text, err := m.line()
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, m.corrupt("the memo's entry %q", text)
	}
	return n, nil
}

// long reads a little-endian number in two's complement.
func long(b []byte) any {
	reversed := slices.Clone(b)
	slices.Reverse(reversed)
	v := new(big.Int).SetBytes(reversed)
	if len(b) > 0 && b[len(b)-1]&0x80 != 0 {
		v.Sub(v, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
	}
	if v.IsInt64() {
		return v.Int64()
	}
	return v
}
