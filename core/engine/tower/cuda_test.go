//go:build clipcuda && linux

package tower

import (
	"slices"
	"syscall"
	"testing"

	"tandem/core/clip"
	"tandem/core/engine/device"
	"tandem/core/engine/device/cuda"
	"tandem/core/tensor"
)

// counting wraps the CUDA backend and counts how it is used.
type counting struct {
	*cuda.Backend
	fetched, refused, written, shared, recorded int
}

func (c *counting) Prefetch(dst device.Buffer, values any) bool {
	if c.Backend.Prefetch(dst, values) {
		c.fetched++
		return true
	}
	c.refused++
	return false
}

func (c *counting) ShareHost(m []byte) error {
	c.shared++
	return c.Backend.ShareHost(m)
}

func (c *counting) Write(dst device.Buffer, values any) {
	if _, ok := values.([]uint8); ok {
		c.written++
	}
	c.Backend.Write(dst, values)
}

func (c *counting) Record(run func() error) (device.Recording, error) {
	c.recorded++
	return c.Backend.Record(run)
}

// TestCUDAStepsAreRecordedAndFedFromSharedMemory trains on two batches in turn, in memory as plugins share it, with
// the next one announced and not: the same bits, and no picture goes through another copy once it is announced.
func TestCUDAStepsAreRecordedAndFedFromSharedMemory(t *testing.T) {
	open, err := cuda.Open(0, cuda.Options{})
	if err != nil {
		t.Skip(err)
	}
	open.Close()
	const batch, steps = 6, 5
	var results [2][]float32
	for k, announced := range []bool{false, true} {
		var backend *counting
		e := Image(newMean, WithBackend(func(clip.Compute) (device.Backend, error) {
			b, err := cuda.Open(0, cuda.Options{})
			if err != nil {
				return nil, err
			}
			backend = &counting{Backend: b.(*cuda.Backend)}
			return backend, nil
		})).(*encoder)
		c := clip.EncoderConfig{EmbedDim: 3, Seed: 1, Optimizer: clip.Optimizer{Name: "adamw", Beta1: .9, Beta2: .9, Eps: 1e-6},
			Compute: clip.Compute{Device: "cuda:0", Threads: 1}}
		if _, err := e.Configure(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		pictures := []*tensor.Tensor{mapped(t, tensor.U8, batch, 2, 2, 3), mapped(t, tensor.U8, batch, 2, 2, 3)}
		out, grad := mapped(t, tensor.F32, batch, 3), mapped(t, tensor.F32, batch, 3)
		for i := range grad.F32() {
			grad.F32()[i] = float32(i%5) - 2
		}
		fill := func(step int) {
			for i := range pictures[step%2].Data {
				pictures[step%2].Data[i] = byte(i*7 + step*31)
			}
		}
		fill(0)
		for step := range steps {
			req := clip.ForwardRequest{Images: pictures[step%2], Mode: clip.Train, Step: step, Into: out}
			fill(step + 1)
			if announced {
				req.ID, req.Next, req.NextID = uint64(step+1), pictures[(step+1)%2], uint64(step+2)
			}
			_, ticket, err := e.Forward(t.Context(), req)
			if err == nil {
				results[k] = append(results[k], out.F32()...)
				err = e.Backward(t.Context(), ticket, grad)
			}
			if err == nil {
				err = e.Step(t.Context(), step+1, .01, 1)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if backend.recorded != 2 || backend.shared != 4 {
			t.Errorf("announced %v: %d passes were recorded, want forward and backward; %d pieces of memory were shared, want 4",
				announced, backend.recorded, backend.shared)
		}
		want := counting{written: steps}
		if announced {
			want = counting{written: 1, fetched: steps}
		}
		if backend.written != want.written || backend.fetched != want.fetched || backend.refused != 0 {
			t.Errorf("announced %v: %d batches written, %d fetched ahead, %d refused", announced, backend.written, backend.fetched, backend.refused)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}
	if !slices.Equal(results[0], results[1]) {
		t.Error("announced pictures give other bits")
	}
}

// mapped makes a tensor in pages of its own.
func mapped(t *testing.T, d tensor.DType, shape ...int) *tensor.Tensor {
	t.Helper()
	n := tensor.Shape(shape).Elements() * d.Size()
	pages, err := syscall.Mmap(-1, 0, (n+4095)/4096*4096, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED|syscall.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Munmap(pages) })
	return &tensor.Tensor{DType: d, Shape: shape, Data: pages[:n], Pages: pages}
}
