package checkpoint

import (
	"context"
	"path/filepath"
	"slices"
	"testing"

	"tandem/core/engine/device"
	"tandem/core/engine/device/reference"
	"tandem/core/engine/graph"
	"tandem/core/engine/optim"
	"tandem/core/engine/weights"
	"tandem/core/fault"
)

// newArrays makes two parameters and the state of an optimiser, numbered from first.
func newArrays(t *testing.T, b device.Backend, first float32) []Array {
	t.Helper()
	var l graph.Layout
	l.Add("w", 2, 3)
	l.Add("b", 3)
	buffer := func() device.Buffer {
		flat, err := b.Alloc(device.Real, l.Total)
		if err != nil {
			t.Fatal(err)
		}
		values := make([]float32, l.Total)
		for i := range values {
			values[i] = first
			first++
		}
		b.Write(flat, values)
		return flat
	}
	return append(Arrays(b, l, buffer()), SlotArrays(b, l, []optim.State{{Name: "m", Buffer: buffer()}})...)
}

func values(b device.Backend, arrays []Array) (all []float32) {
	for _, a := range arrays {
		v := make([]float32, a.Buffer.Len())
		b.Read(v, a.Buffer)
		all = append(all, v...)
	}
	return all
}

func TestWhatIsWrittenIsRestored(t *testing.T) {
	b := reference.New[float32](1)
	path := filepath.Join(t.TempDir(), "c.safetensors")
	saved := newArrays(t, b, 1)
	others := []weights.Tensor{weights.FromU8(weights.TokenizerTensor, []byte("{}"), 2)}
	if err := Write(context.Background(), path, b, saved, others, map[string]string{"format": weights.EncoderFormat}); err != nil {
		t.Fatal(err)
	}
	f, err := weights.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if want := []string{"b", "optim.m.b", "optim.m.w", "tokenizer", "w"}; !slices.Equal(f.Names(), want) {
		t.Errorf("the file has %q, want %q", f.Names(), want)
	}
	restored := newArrays(t, b, 100)
	if err := CheckArrays(f, restored); err != nil {
		t.Fatal(err)
	}
	if err := Restore(b, f, restored); err != nil {
		t.Fatal(err)
	}
	if got, want := values(b, restored), values(b, saved); !slices.Equal(got, want) {
		t.Errorf("restored %v, want %v", got, want)
	}
	if name := Unknown(f, restored); name != weights.TokenizerTensor {
		t.Errorf("unknown: %q", name)
	}
	if name := Unknown(f, restored, weights.TokenizerTensor); name != "" {
		t.Errorf("unknown: %q", name)
	}
	restored[0].Shape = []int{3, 2}
	if err := CheckArrays(f, restored); err == nil || err.Kind != fault.Invalid {
		t.Errorf("another shape: %v", err)
	}
}

func TestACanceledWriteLeavesNoFile(t *testing.T) {
	b := reference.New[float32](1)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	path := filepath.Join(t.TempDir(), "c.safetensors")
	if err := Write(ctx, path, b, newArrays(t, b, 1), nil, nil); fault.KindOf(err) != fault.Canceled {
		t.Errorf("%v", err)
	}
	if _, err := weights.Open(path); fault.KindOf(err) != fault.NotFound {
		t.Errorf("afterwards: %v", err)
	}
}

func TestMetadataMustAgree(t *testing.T) {
	want := map[string]string{"format": weights.LossFormat, "optimizer": "sgd"}
	if err := CheckMetadata(map[string]string{"format": weights.LossFormat, "optimizer": "sgd", "more": "x"}, want, "format", "optimizer"); err != nil {
		t.Error(err)
	}
	if err := CheckMetadata(map[string]string{"format": weights.LossFormat}, want, "format", "optimizer"); err == nil || err.Kind != fault.Invalid {
		t.Errorf("%v", err)
	}
}
