package wire

import (
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"tandem/core/fault"
	"tandem/core/plugin/wire/pb"
	"tandem/core/tensor"
)

func newArena(t *testing.T) *Arena {
	t.Helper()
	a, err := NewArena()
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { a.Close() })
	return a
}

func alloc(t *testing.T, a *Arena, shape ...int) *tensor.Tensor {
	t.Helper()
	x, err := a.Alloc(tensor.U8, shape...)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func TestNoTwoTensorsShareMemory(t *testing.T) {
	a := newArena(t)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(g), 1))
			var held []*tensor.Tensor
			for range 300 {
				n := 1 << r.IntN(18)
				x, err := a.Alloc(tensor.U8, n)
				if err != nil {
					t.Error(err)
					return
				}
				x.Data[0], x.Data[n-1] = byte(g), byte(g)
				held = append(held, x)
				if i := r.IntN(len(held)); len(held) > 10 {
					y := held[i]
					if y.Data[0] != byte(g) || y.Data[len(y.Data)-1] != byte(g) {
						t.Error("another goroutine wrote here")
					}
					y.Free()
					held = append(held[:i], held[i+1:]...)
				}
			}
			for _, x := range held {
				x.Free()
			}
		})
	}
	wg.Wait()
	if s := a.Stats(); s.Slots != 0 || s.UsedBytes != 0 || s.PeakBytes == 0 {
		t.Errorf("after all: %+v", s)
	}
}

func TestFreedMemoryIsReusedAndBigOnesGoBackToTheSystem(t *testing.T) {
	a := newArena(t)
	x := alloc(t, a, 1<<20)
	first := &x.Data[0]
	x.Free()
	x.Free() // twice is once
	y := alloc(t, a, 1<<20+1000)
	if &y.Data[0] != first {
		t.Error("a freed block of the same size is not used again")
	}
	y.Free()
	big := alloc(t, a, warmBytes)
	big.Data[12345] = 1
	big.Free()
	if s := a.Stats(); s.WarmBytes > 3<<20 {
		t.Errorf("%d bytes are kept", s.WarmBytes)
	}
	if big = alloc(t, a, warmBytes); big.Data[12345] != 0 {
		t.Error("the pages were not given back")
	}
	big.Free()
}

func TestFullArenaSaysSo(t *testing.T) {
	a := newArena(t)
	_, err := a.Alloc(tensor.U8, 1<<40)
	if fault.KindOf(err) != fault.Exhausted || !strings.Contains(fault.Format(err), "smaller batch") {
		t.Errorf("got %v", err)
	}
	half := len(a.mem)/2 + 1
	x := alloc(t, a, half)
	if _, err := a.Alloc(tensor.U8, half); fault.KindOf(err) != fault.Exhausted {
		t.Errorf("got %v", err)
	}
	x.Free()
	alloc(t, a, half-half/8-1<<20).Free() // a smaller size, from the free larger block
}

func TestTensorsOutliveTheArena(t *testing.T) {
	a := newArena(t)
	x := alloc(t, a, 100)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	x.Data[99] = 1 // still mapped
	if _, err := a.Alloc(tensor.U8, 1); fault.KindOf(err) != fault.Conflict {
		t.Errorf("a closed arena gives %v", err)
	}
	x.Free()
	if a.mem != nil {
		t.Error("the memory is still mapped after the last Free")
	}
}

// A plugin must refuse references that are stale or lie, and not read elsewhere.
func TestWrongReferencesAreRefused(t *testing.T) {
	a := newArena(t)
	w := a.Window()
	x := alloc(t, a, 10, 10)
	good := func() *pb.Tensor { return slotReference(x, x.Shared.(*slot)) }
	if got, err := w.tensor(good()); err != nil || &got.Data[0] != &x.Data[0] || got.Shape.String() != "[10 10]" {
		t.Fatalf("%v, %v", got, err)
	}
	for name, spoil := range map[string]func(*pb.Tensor){
		"another generation": func(m *pb.Tensor) { m.Generation++ },
		"another arena":      func(m *pb.Tensor) { m.Arena = 2 },
		"unaligned":          func(m *pb.Tensor) { m.Offset += 4 },
		"before the start":   func(m *pb.Tensor) { m.Offset = 0 },
		"behind the end":     func(m *pb.Tensor) { m.Offset = 1 << 62 },
		"too large":          func(m *pb.Tensor) { m.Shape = []int64{1 << 20} },
		"overflowing":        func(m *pb.Tensor) { m.Shape = []int64{1 << 40, 1 << 40} },
		"negative":           func(m *pb.Tensor) { m.Shape = []int64{-1} },
		"no dtype":           func(m *pb.Tensor) { m.Dtype = 0 },
		"strange dtype":      func(m *pb.Tensor) { m.Dtype = 259 },
		"short inline":       func(m *pb.Tensor) { m.Arena, m.Inline = 0, []byte{1} },
	} {
		m := good()
		spoil(m)
		if _, err := w.tensor(m); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	stale := good()
	x.Free()
	if _, err := w.tensor(stale); fault.KindOf(err) != fault.Internal {
		t.Errorf("a freed slot gives %v", err)
	}
	var none *Window
	if _, err := none.tensor(stale); fault.KindOf(err) != fault.Internal {
		t.Errorf("without an arena: %v", err)
	}
}

func TestAnswersAreChecked(t *testing.T) {
	a := newArena(t)
	w := a.Window()
	x, err := a.Alloc(tensor.F32, 2, 3)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Free()
	out := slotReference(x, x.Shared.(*slot))
	if _, err := w.answer("embedding", tensor.FromF32([]float32{1, 2, 3, 4, 5, 6}, 2, 3), out); err != nil || x.F32()[5] != 6 {
		t.Errorf("%v, %v", x.F32(), err)
	}
	for _, bad := range []*tensor.Tensor{nil, tensor.New(tensor.F32, 3, 2), tensor.New(tensor.I32, 2, 3)} {
		if _, err := w.answer("embedding", bad, out); fault.KindOf(err) != fault.Internal || !strings.Contains(err.Error(), "embedding") {
			t.Errorf("%v gives %v", bad, err)
		}
	}
}
