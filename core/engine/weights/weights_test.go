package weights

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"tandem/core/fault"
)

// sample holds every dtype, a NaN with a payload, an empty tensor, a scalar and names that sort
// differently from the order given.
func sample() []Tensor {
	odd := math.Float32frombits(0x7fa12345) // a signalling NaN
	return []Tensor{
		FromU8("mask", []byte{1, 2, 3}, 3),
		FromF32("visual.proj", []float32{1, float32(math.Inf(-1)), odd, float32(math.Copysign(0, -1))}, 2, 2),
		FromF32("logit_scale", []float32{2.6592600}),
		FromF32("empty", nil, 0, 7),
		{Name: "ids", DType: I32, Shape: []int{2}, Data: Bytes([]int32{-1, 49407})},
		FromI64("num_batches_tracked", []int64{math.MinInt64}),
		{Name: "half", DType: F16, Shape: []int{2}, Data: []byte{0x00, 0x3c, 0x01, 0x80}},
		{Name: "brain", DType: BF16, Shape: []int{1}, Data: []byte{0xa1, 0x7f}},
		{Name: "flag", DType: Bool, Shape: []int{1}, Data: []byte{1}},
		FromF32("Ω \"quoted\"\n<tag>", []float32{3}, 1),
	}
}

func TestRoundTripKeepsEveryBit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "w.safetensors")
	meta := map[string]string{"step": "120", "": "empty key", "tokenizer": "{\"a\": 1}"}
	if err := WriteSync(path, sample(), meta); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if got := f.Metadata(); len(got) != 3 || got["tokenizer"] != meta["tokenizer"] || got[""] != "empty key" {
		t.Errorf("metadata %v", got)
	}
	if len(f.Names()) != len(sample()) || !slices.IsSorted(f.Names()) {
		t.Errorf("names %q", f.Names())
	}
	for _, want := range sample() {
		got, err := f.Read(want.Name)
		if err != nil {
			t.Fatal(err)
		}
		if got.DType != want.DType || !slices.Equal(got.Shape, want.Shape) || !bytes.Equal(got.Data, want.Data) {
			t.Errorf("%q: got %v, want %v", want.Name, got, want)
		}
	}
	values, err := f.F32("visual.proj", 2, 2)
	if err != nil || math.Float32bits(values[2]) != 0x7fa12345 {
		t.Errorf("NaN payload %x, %v", math.Float32bits(values[2]), err)
	}
}

func TestHalfTypesWidenExactly(t *testing.T) {
	for half, want := range map[uint16]float32{
		0x3c00: 1, 0xc000: -2, 0x0001: 0x1p-24, 0x03ff: 0x1.ff8p-15, 0x0400: 0x1p-14, 0x7bff: 65504,
		0x7c00: float32(math.Inf(1)), 0xfc00: float32(math.Inf(-1)), 0x0000: 0,
	} {
		if got := math.Float32frombits(widen(half)); got != want {
			t.Errorf("half %#04x is %g, want %g", half, got, want)
		}
	}
	if widen(0x8000) != 1<<31 || widen(0x7e01) != 0x7fc02000 {
		t.Error("negative zero or NaN payload lost")
	}
	brain := Tensor{DType: BF16, Data: []byte{0x80, 0x3f}}
	if v, err := brain.F32(); err != nil || v[0] != 1 {
		t.Errorf("bf16 1.0 is %v, %v", v, err)
	}
}

func TestOrderOfTensorsDoesNotChangeTheBytes(t *testing.T) {
	var a, b bytes.Buffer
	tensors := sample()
	meta := map[string]string{"b": "2", "a": "1", "c": "3"}
	if err := Encode(&a, tensors, meta); err != nil {
		t.Fatal(err)
	}
	slices.Reverse(tensors)
	if err := Encode(&b, tensors, meta); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a.Bytes(), b.Bytes()) {
		t.Error("bytes depend on the order given")
	}
	if n := binary.LittleEndian.Uint64(a.Bytes()); n%8 != 0 {
		t.Errorf("data starts at %d, not a multiple of 8", 8+n)
	}
}

func TestDataIsLoadedOneTensorAtATime(t *testing.T) {
	shared := make([]byte, 4) // one buffer for all: valid only if each is written before the next
	load := func(v float32) func() ([]byte, error) {
		return func() ([]byte, error) {
			binary.LittleEndian.PutUint32(shared, math.Float32bits(v))
			return shared, nil
		}
	}
	var b bytes.Buffer
	err := Encode(&b, []Tensor{
		{Name: "a", DType: F32, Load: load(1)},
		{Name: "b", DType: F32, Shape: []int{1}, Load: load(2)},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	f, err := Decode(bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]float32{"a": 1, "b": 2} {
		if v, err := f.F32(name); err != nil || v[0] != want {
			t.Errorf("%s = %v, %v; want %g", name, v, err, want)
		}
	}
}

func TestFailedWriteLeavesTheOldFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "w.safetensors")
	if err := Write(path, []Tensor{FromF32("a", []float32{1}, 1)}, nil); err != nil {
		t.Fatal(err)
	}
	old, _ := os.ReadFile(path)
	broken := errors.New("device lost")
	err := Write(path, []Tensor{{Name: "a", DType: F32, Load: func() ([]byte, error) { return nil, broken }}}, nil)
	if !errors.Is(err, broken) {
		t.Errorf("got %v, want the cause", err)
	}
	now, _ := os.ReadFile(path)
	entries, _ := os.ReadDir(dir)
	if !bytes.Equal(old, now) || len(entries) != 1 {
		t.Errorf("old file changed or %d files left", len(entries))
	}
}

func TestWriteRefusesWhatCannotBeRead(t *testing.T) {
	one := []float32{1}
	for name, tensors := range map[string][]Tensor{
		"repeated name": {FromF32("a", one, 1), FromU8("a", []byte{1}, 1)},
		"no name":       {FromF32("", one, 1)},
		"reserved name": {FromF32(metadataKey, one, 1)},
		"not utf-8":     {FromF32("\xff", one, 1)},
		"short data":    {{Name: "a", DType: F32, Shape: []int{2}, Data: make([]byte, 7)}},
		"negative axis": {{Name: "a", DType: F32, Shape: []int{-1}, Data: nil}},
		"overflow":      {{Name: "a", DType: F32, Shape: []int{1 << 40, 1 << 40}, Data: nil}},
		"unknown dtype": {{Name: "a", DType: "F12", Shape: []int{0}}},
	} {
		if err := Encode(&bytes.Buffer{}, tensors, nil); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: got %v, want fault.Invalid", name, err)
		}
	}
}

// raw makes a file with the given header text and n bytes of data.
func raw(header string, n int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), make([]byte, n)...)
}

const entry = `{"dtype":"F32","shape":[1],"data_offsets":[0,4]}`

func TestDamagedFilesAreCorrupt(t *testing.T) {
	cases := map[string][]byte{
		"too short":          {1, 2, 3},
		"huge header":        append(bytes.Repeat([]byte{0xff}, 8), '{', '}'),
		"header beyond file": raw(`{}`, 0)[:9],
		"no header":          raw("", 0),
		"not an object":      raw(`[]`, 0),
		"leading space":      raw(` {}`, 0),
		"not json":           raw(`{"a":`+entry, 4),
		"text after object":  raw(`{"a":`+entry+`} x`, 4),
		"not utf-8":          raw("{\"\xff\":"+entry+"}", 4),
		"repeated name":      raw(`{"a":`+entry+`,"a":`+entry+`}`, 4),
		"escaped repeat":     raw(`{"a":`+entry+`,"\u0061":`+entry+`}`, 4),
		"repeated field":     raw(`{"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4),
		"unknown field":      raw(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1}}`, 4),
		"missing field":      raw(`{"a":{"dtype":"F32","data_offsets":[0,4]}}`, 4),
		"unknown dtype":      raw(`{"a":{"dtype":"F12","shape":[1],"data_offsets":[0,4]}}`, 4),
		"fractional size":    raw(`{"a":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}}`, 4),
		"negative size":      raw(`{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}`, 4),
		"size overflow":      raw(`{"a":{"dtype":"F32","shape":[4611686018427387904,4611686018427387904],"data_offsets":[0,4]}}`, 4),
		"byte overflow":      raw(`{"a":{"dtype":"I64","shape":[2305843009213693952],"data_offsets":[0,0]}}`, 0),
		"wrong length":       raw(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}`, 4),
		"backwards":          raw(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}`, 4),
		"outside":            raw(`{"a":`+entry+`}`, 3),
		"left over":          raw(`{"a":`+entry+`}`, 5),
		"overlap":            raw(`{"a":`+entry+`,"b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}}`, 6),
		"hole":               raw(`{"a":`+entry+`,"b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}}`, 12),
		"metadata number":    raw(`{"__metadata__":{"step":1},"a":`+entry+`}`, 4),
		"metadata twice":     raw(`{"__metadata__":{},"__metadata__":{}}`, 0),
		"tensor is null":     raw(`{"a":null}`, 0),
	}
	for name, file := range cases {
		if _, err := Decode(bytes.NewReader(file), int64(len(file))); fault.KindOf(err) != fault.Corrupt {
			t.Errorf("%s: got %v, want fault.Corrupt", name, err)
		}
	}
}

func TestErrorsNameFileAndTensor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "w.safetensors")
	if _, err := Open(path); fault.KindOf(err) != fault.NotFound {
		t.Errorf("missing file: %v", err)
	}
	os.WriteFile(path, raw(`{"visual.proj":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}`, 4), 0o644)
	_, err := Open(path)
	if want := path + `: tensor "visual.proj": 4 bytes for F32 [2]`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if err := Write(path, sample(), nil); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for want, read := range map[fault.Kind]func() error{
		fault.NotFound: func() error { _, err := f.F32("absent"); return err },
		fault.Invalid:  func() error { _, err := f.F32("visual.proj", 4); return err },
	} {
		var e *fault.Error
		if err := read(); !errors.As(err, &e) || e.Kind != want || e.File != path {
			t.Errorf("got %v, want %s naming %s", err, want, path)
		}
	}
	if _, err := f.U8("visual.proj"); fault.KindOf(err) != fault.Invalid {
		t.Errorf("F32 read as U8: %v", err)
	}
}

// TestReadsWhatTheReferenceWrites holds a file made with Python safetensors 0.8.0:
//
//	save({"b": int32[7], "a": f32[[1, 2]]}, metadata={"k": "v"})
func TestReadsWhatTheReferenceWrites(t *testing.T) {
	file := []byte("\x88\x00\x00\x00\x00\x00\x00\x00{\"__metadata__\":{\"k\":\"v\"},\"a\":{\"dtype\":\"F32\",\"shape\":[1,2],\"data_offsets\":[0,8]},\"b\":{\"dtype\":\"I32\",\"shape\":[1],\"data_offsets\":[8,12]}} \x00\x00\x80?\x00\x00\x00@\x07\x00\x00\x00")
	f, err := Decode(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	a, err := f.F32("a", 1, 2)
	if err != nil || a[0] != 1 || a[1] != 2 {
		t.Errorf("a = %v, %v", a, err)
	}
	var again bytes.Buffer
	err = Encode(&again, []Tensor{{Name: "b", DType: I32, Shape: []int{1}, Data: Bytes([]int32{7})}, FromF32("a", a, 1, 2)}, f.Metadata())
	if err != nil || !bytes.Equal(again.Bytes(), file) {
		t.Errorf("written back: %q, %v", again.Bytes(), err)
	}
}

func FuzzHeader(f *testing.F) {
	var b bytes.Buffer
	if err := Encode(&b, sample(), map[string]string{"k": "v"}); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add(raw(`{"a":`+entry+`}`, 4))
	f.Add(raw(`{}`, 0))
	f.Fuzz(func(t *testing.T, file []byte) {
		f, err := Decode(bytes.NewReader(file), int64(len(file)))
		if err != nil {
			if fault.KindOf(err) != fault.Corrupt {
				t.Fatalf("%v is not fault.Corrupt", err)
			}
			return
		}
		var tensors []Tensor // what opens can be read, written and opened again
		for _, name := range f.Names() {
			tensor, err := f.Read(name)
			if err != nil {
				t.Fatal(err)
			}
			if name != "" {
				tensors = append(tensors, tensor)
			}
		}
		var out bytes.Buffer
		if err := Encode(&out, tensors, f.Metadata()); err != nil {
			t.Fatal(err)
		}
		if _, err := Decode(bytes.NewReader(out.Bytes()), int64(out.Len())); err != nil {
			t.Fatal(err)
		}
	})
}
