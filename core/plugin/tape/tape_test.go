package tape

import (
	"encoding/binary"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"tandem/core/fault"
	"tandem/core/plugin/wire"
	"tandem/core/plugin/wire/pb"
)

const compute = "/tandem.v1.Loss/Compute"

// floats returns a tensor in a message.
func floats(shape []int64, values ...float32) *pb.Tensor {
	t := &pb.Tensor{Dtype: pb.DType_F32, Shape: shape}
	for _, v := range values {
		t.Inline = binary.LittleEndian.AppendUint32(t.Inline, math.Float32bits(v))
	}
	return t
}

// write makes a tape of a call that succeeded and one that failed.
func write(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.tape")
	w, err := Create(path, Header{Kind: "loss", Plugin: "losses/x", Role: "loss"})
	if err != nil {
		t.Fatal(err)
	}
	at := time.Now()
	w.Add(wire.Heard{Method: compute, Request: &pb.LossRequest{Image: floats([]int64{1, 2}, 1, 2)}, Response: &pb.LossResponse{Value: 3}, Start: at, Took: time.Second})
	w.Add(wire.Heard{Method: compute, Request: &pb.LossRequest{}, Err: fault.New(fault.Invalid, "no image"), Start: at.Add(time.Minute)})
	w.Add(wire.Heard{Method: compute, Request: &pb.LossRequest{}, Response: &pb.LossResponse{}, Start: at})
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestATapeHasWhatWasSaid(t *testing.T) {
	r, err := Open(write(t))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if r.Header.Plugin != "losses/x" {
		t.Errorf("header %+v", r.Header)
	}
	first, err := r.Next()
	if err != nil || first.Number != 1 || first.Took != time.Second || !proto.Equal(first.Response, &pb.LossResponse{Value: 3}) ||
		!proto.Equal(first.Request, &pb.LossRequest{Image: floats([]int64{1, 2}, 1, 2)}) {
		t.Errorf("first call %+v, %v", first, err)
	}
	second, err := r.Next()
	if err != nil || second.Response != nil || second.Failure == nil || second.Failure.Kind != fault.Invalid || second.Start != time.Minute {
		t.Errorf("second call %+v, %v", second, err)
	}
	third, err := r.Next()
	if err != nil || third.Response == nil || third.Failure != nil {
		t.Errorf("third call %+v, %v", third, err)
	}
	if _, err := r.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("after the last call: %v", err)
	}
}

// Wherever a tape is cut off, the calls before are there, and the cut is told.
func TestATapeThatIsCutOffHasTheCallsBefore(t *testing.T) {
	path := write(t)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	most := 0
	for n := range whole {
		if err := os.WriteFile(path, whole[:n], 0o644); err != nil {
			t.Fatal(err)
		}
		calls, err := readAll(path)
		if most = max(most, calls); calls < most || err == nil || !errors.Is(err, ErrCut) && (calls > 0 || fault.KindOf(err) != fault.Corrupt) {
			t.Fatalf("the first %d of %d bytes give %d calls and %v", n, len(whole), calls, err)
		}
	}
	if most != 3 {
		t.Errorf("at most %d calls", most)
	}
}

// No byte of a tape can be changed unseen.
func TestDamageOfATapeIsSeen(t *testing.T) {
	path := write(t)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for n := range whole {
		bad := append([]byte(nil), whole...)
		bad[n] ^= 0x41
		if err := os.WriteFile(path, bad, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := readAll(path); err == nil {
			t.Errorf("a change of byte %d is not seen", n)
		}
	}
}

func readAll(path string) (calls int, err error) {
	r, err := Open(path)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	for {
		if _, err := r.Next(); errors.Is(err, io.EOF) {
			return calls, nil
		} else if err != nil {
			return calls, err
		}
		calls++
	}
}

func TestAnswersAreComparedByBitsOrWithinATolerance(t *testing.T) {
	nan := float32(math.NaN())
	base := func() *pb.LossResponse {
		return &pb.LossResponse{Value: 2, DImage: floats([]int64{2, 2}, 1, 2, 3, nan), Parts: map[string]float64{"a": 1, "b": 2},
			PerSample: map[string]*pb.Floats{"a": {Values: []float32{1, 2}}}, KernelNanos: 5}
	}
	for name, x := range map[string]struct {
		change    func(*pb.LossResponse)
		tolerance float64
		field     string // "": equal
	}{
		"nothing":                {func(*pb.LossResponse) {}, 0, ""},
		"a time":                 {func(r *pb.LossResponse) { r.KernelNanos, r.StartNanos, r.Work = 9, 9, 9 }, 0, ""},
		"the value":              {func(r *pb.LossResponse) { r.Value = 2.000001 }, 0, "value"},
		"a sign of zero":         {func(r *pb.LossResponse) { r.DImage = floats([]int64{2, 2}, 1, 2, 3, float32(math.Copysign(0, -1))) }, 0, "d_image[1, 1]"},
		"an element":             {func(r *pb.LossResponse) { r.DImage = floats([]int64{2, 2}, 1, 2, 4, nan) }, 0, "d_image[1, 0]"},
		"an element, within":     {func(r *pb.LossResponse) { r.DImage = floats([]int64{2, 2}, 1, 2, 3.01, nan) }, 0.01, ""},
		"an element, beyond":     {func(r *pb.LossResponse) { r.DImage = floats([]int64{2, 2}, 1.1, 2, 3, nan) }, 0.01, "d_image[0, 0]"},
		"a shape":                {func(r *pb.LossResponse) { r.DImage = floats([]int64{4}, 1, 2, 3, nan) }, 1, "d_image"},
		"no tensor":              {func(r *pb.LossResponse) { r.DImage = nil }, 1, "d_image"},
		"a part":                 {func(r *pb.LossResponse) { r.Parts["b"] = 3 }, 0, `parts["b"]`},
		"a part that is gone":    {func(r *pb.LossResponse) { delete(r.Parts, "a") }, 0, `parts["a"]`},
		"a sample":               {func(r *pb.LossResponse) { r.PerSample["a"].Values[1] = 7 }, 0, `per_sample["a"].values[1]`},
		"a norm that was not":    {func(r *pb.LossResponse) { r.SumOfSquares = proto.Float64(0) }, 0, "sum_of_squares"},
		"bytes that are lacking": {func(r *pb.LossResponse) { r.DImage.Inline = r.DImage.Inline[:4] }, 0, "d_image"},
	} {
		now := base()
		x.change(now)
		d := Compare(base(), now, x.tolerance)
		if x.field == "" && d != nil || x.field != "" && (d == nil || d.Field != x.field) {
			t.Errorf("%s: %+v, want %q", name, d, x.field)
		}
	}
	d := Compare(base(), &pb.LossResponse{Value: 3, DImage: floats([]int64{2, 2}, 1, 5, 3, nan)}, 0)
	if d.Elements != 2 || d.Most != 3 || d.Tape != "2" || d.Now != "3" {
		t.Errorf("%+v", d)
	}
	ticket := func(n uint64) *pb.ForwardResponse { return &pb.ForwardResponse{Ticket: n} }
	if Compare(ticket(3), ticket(4), 0) != nil || Compare(ticket(3), ticket(0), 0) == nil {
		t.Error("tickets are compared by their numbers")
	}
}
