package main

import (
	"math"
	"os/exec"
	"path/filepath"
	"testing"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/plugin/catalog"
	"tandem/core/plugin/process"
	"tandem/core/tensor"
)

// started opens the plugin in a process of its own, as a run uses it.
func started(t *testing.T, with string, dim int) clip.Loss {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "clip")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	session, err := process.NewSession(process.SessionOptions{Catalog: &catalog.Catalog{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := session.Close(); err != nil {
			t.Errorf("session: %v", err)
		}
	})
	l, process, err := session.StartLoss(ctx, binary, process.StartOptions{Label: "loss", Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	if process.Name() != "losses/clip" {
		t.Errorf("the process calls itself %s", process.Name())
	}
	if _, err := l.Configure(ctx, config(with, dim)); err != nil {
		t.Fatal(err)
	}
	return l
}

func TestThroughThePluginProcess(t *testing.T) {
	l := started(t, `{"init_temperature": 1}`, 2)
	workedExample(t, l)

	here := configured(t, config(`{"init_temperature": 1}`, 2), false)
	image, text := unit(30, 5, 2), unit(31, 5, 2)
	compute(t, here, tensor.FromF32([]float32{.9, .1, .1, .9, .9, -.1}, 3, 2), tensor.FromF32([]float32{.8, .2, .2, .8, 1, 0}, 3, 2))
	for step := 1; step <= 3; step++ { // another batch size, and the same bits as without a process
		a, told, err := l.(clip.ComputeNormer).ComputeNorm(ctx, clip.LossRequest{Image: image, Text: text, Train: true})
		if err != nil {
			t.Fatal(err)
		}
		b := compute(t, here, image, text)
		if a.Value != b.Value || string(a.DImage.Data) != string(b.DImage.Data) || string(a.DText.Data) != string(b.DText.Data) {
			t.Errorf("step %d: %v through the process, %v without", step, a.Value, b.Value)
		}
		x, err := l.GradNorm(ctx)
		if y, _ := here.GradNorm(ctx); err != nil || x != y || told != y {
			t.Errorf("step %d: gradient %v, with the loss %v (%v), want %v", step, x, told, err, y)
		}
		for _, each := range []clip.Loss{l, here} {
			if err := each.Step(ctx, step, .01, 1); err != nil {
				t.Fatal(err)
			}
		}
	}

	path := filepath.Join(t.TempDir(), "loss.safetensors")
	if err := l.Save(ctx, path); err != nil {
		t.Fatal(err)
	}
	if err := here.Load(ctx, path); err != nil {
		t.Error(err)
	}

	nan := unit(32, 5, 2)
	nan.F32()[0] = float32(math.NaN())
	if _, err := l.Compute(ctx, clip.LossRequest{Image: nan, Text: text}); fault.KindOf(err) != fault.Numeric {
		t.Errorf("NaN: got %v, want fault.Numeric", err)
	}
	if _, err := l.Compute(ctx, clip.LossRequest{Image: image, Text: unit(1, 4, 2)}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("different shapes: got %v, want fault.Invalid", err)
	}
}
