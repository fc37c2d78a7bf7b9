package main

import (
	"slices"
	"testing"

	"tandem/core/clip"
	"tandem/core/engine/device"
	"tandem/core/engine/device/devices"
	"tandem/core/engine/device/devicetest"
	"tandem/core/engine/loss"
	"tandem/core/tensor"
)

// A batch whose pieces are computed again in the backward pass has every bit of one that keeps them, on every device; and
// pieces change no more than the order of sums.
func TestPiecesThatAreComputedAgainHaveTheSameBits(t *testing.T) {
	const batch, dim = 37, 16
	image, text := unit(3, batch, dim), unit(4, batch, dim)
	for _, d := range devices.List() {
		if !d.Available {
			continue
		}
		open := func(options ...loss.Option) *loss.Loss {
			l := newLoss(options...)
			c := config(`{"init_bias": -3}`, dim)
			c.BatchSize, c.Compute.Device = batch, d.Name
			if _, err := l.Configure(ctx, c); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
			return l
		}
		at := open()
		one := compute(t, at, image, text)
		for _, rows := range []int{1, 5, 36} {
			pieces := loss.WithPieces(rows * batch)
			kept, again := open(pieces), open(pieces, loss.WithBlocks(1))
			want, got := compute(t, kept, image, text), compute(t, again, image, text)
			if got.Value != want.Value || !slices.Equal(got.DImage.F32(), want.DImage.F32()) || !slices.Equal(got.DText.F32(), want.DText.F32()) ||
				!slices.Equal(got.PerSample[negative], want.PerSample[negative]) || !slices.Equal(got.PerSample[positive], want.PerSample[positive]) {
				t.Errorf("%s, pieces of %d rows: other bits", d.Name, rows)
			}
			near(t, "value", got.Value, one.Value, 1e-5)
			for i := range one.DImage.F32() {
				near(t, "dImage", float64(got.DImage.F32()[i]), float64(one.DImage.F32()[i]), 1e-6)
				near(t, "dText", float64(got.DText.F32()[i]), float64(one.DText.F32()[i]), 1e-6)
			}
			for _, name := range []string{loss.LogitScale, loss.LogitBias} {
				if kept.Gradient(name) != again.Gradient(name) {
					t.Errorf("%s, pieces of %d rows: gradient of %s is %v, kept %v", d.Name, rows, name, again.Gradient(name), kept.Gradient(name))
				}
				near(t, "gradient of "+name, again.Gradient(name), at.Gradient(name), 1e-5)
			}
		}
	}
}

// Of steps of large batches the memory is told without computing them: it grows with the batch, not with its square.
func TestMemoryGrowsWithTheBatch(t *testing.T) {
	const dim = 512
	taken := func(batch int) (sum int64) {
		l := newLoss(loss.WithBackend(func(clip.Compute) (device.Backend, error) { return &devicetest.Shapes{}, nil }))
		defer l.Close()
		c := config(`{}`, dim)
		c.BatchSize = batch
		if _, err := l.Configure(ctx, c); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Compute(ctx, clip.LossRequest{Image: tensor.New(tensor.F32, batch, dim), Text: tensor.New(tensor.F32, batch, dim), Train: true}); err != nil {
			t.Fatal(err)
		}
		for _, part := range l.Memory() {
			sum += part.Bytes
		}
		return sum
	}
	small, large := taken(4096), taken(8192)
	if logits := int64(8192 * 8192 * 4); large > 2*small+small/10 || large > logits {
		t.Errorf("batches of 4096 take %d bytes, of 8192 %d, whose logits are %d", small, large, logits)
	}
}
