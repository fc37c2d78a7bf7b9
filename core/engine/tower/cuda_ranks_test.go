//go:build clipcuda && linux

package tower

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"tandem/core/clip"
	"tandem/core/engine/device/cuda"
	"tandem/core/engine/weights"
	"tandem/core/fault"
	"tandem/core/tensor"
)

// Environment of a rank, which is a process of this test: rank and group, the GPU and where its parameters go.
const rankEnv = "TANDEM_TEST_RANK"

const rankBatch = 4

// rankRequest returns the pictures of a rank and their gradient.
func rankRequest(rank int) (*tensor.Tensor, *tensor.Tensor) {
	images, grad := tensor.New(tensor.U8, rankBatch, 2, 2, 3), tensor.New(tensor.F32, rankBatch, 3)
	for i := range images.Data {
		images.Data[i] = byte(37*rank + 11*i)
	}
	for i := range grad.F32() {
		grad.F32()[i] = float32((rank+2)*(i%5)) - 3
	}
	return images, grad
}

var rankConfig = clip.EncoderConfig{EmbedDim: 3, Seed: 1, Optimizer: clip.Optimizer{Name: "adamw", Beta1: .9, Beta2: .9, Eps: 1e-6},
	Compute: clip.Compute{Device: "cuda:0", Threads: 1}}

// rankMain trains as a rank for three steps in two micro-batches, and prints the norms and saves the parameters.
func rankMain(t *testing.T) error {
	var rank, size, gpu int
	var id, path string
	if _, err := fmt.Sscan(os.Getenv(rankEnv), &rank, &size, &gpu, &id, &path); err != nil {
		return err
	}
	raw, err := hex.DecodeString(id)
	if err != nil {
		return err
	}
	e := Image(newDeep)
	defer e.Close()
	c := rankConfig
	c.Compute.Device, c.Compute.Communicator = fmt.Sprintf("cuda:%d", gpu), &clip.Communicator{ID: raw, Rank: rank, Size: size}
	info, err := e.Configure(t.Context(), c)
	if err != nil {
		return err
	}
	if len(info.BucketSizes) > 0 || !strings.Contains(info.Backend, "NCCL") {
		return fmt.Errorf("%+v", info)
	}
	images, grad := rankRequest(rank)
	for step := 1; step <= 3; step++ {
		for micro := range 2 {
			_, ticket, err := e.Forward(t.Context(), clip.ForwardRequest{Images: images, Mode: clip.Train, Step: step - 1, Micro: micro})
			if err != nil {
				return err
			}
			if micro == 0 {
				err = e.Backward(t.Context(), ticket, grad)
			} else {
				err = e.(clip.BucketedEncoder).BackwardLast(t.Context(), ticket, grad, nil)
			}
			if err != nil {
				return err
			}
		}
		norm, err := e.GradNorm(t.Context())
		if err != nil {
			return err
		}
		fmt.Printf("norm %v\n", norm)
		if err := e.Step(t.Context(), step, .01, 1); err != nil {
			return err
		}
	}
	return e.Save(t.Context(), path)
}

// startRanks runs a rank on each of gpus and returns what they print.
func startRanks(t *testing.T, gpus []int, paths []string, env ...[]string) []string {
	t.Helper()
	id, err := cuda.GroupID()
	if err != nil {
		t.Skip(err)
	}
	out := make([]string, len(gpus))
	var all sync.WaitGroup
	for rank, gpu := range gpus {
		cmd := exec.Command(os.Args[0], "-test.run", "^"+t.Name()+"$")
		cmd.Env = append(os.Environ(), "TANDEM_CUDA_DOUBLE_DEVICES=2", fmt.Sprintf("%s=%d %d %d %s %s", rankEnv, rank, len(gpus), gpu, hex.EncodeToString(id), paths[rank]))
		if len(env) > rank {
			cmd.Env = append(cmd.Env, env[rank]...)
		}
		all.Go(func() {
			text, _ := cmd.CombinedOutput()
			out[rank] = string(text)
		})
	}
	all.Wait()
	return out
}

// isRank runs this process as a rank where it is one.
func isRank(t *testing.T) bool {
	if os.Getenv(rankEnv) == "" {
		return false
	}
	if err := rankMain(t); err != nil {
		fmt.Println(fault.Format(err))
	}
	return true
}

func skipWithoutDouble(t *testing.T) {
	if os.Getenv("TANDEM_CUDA_DOUBLE") == "" {
		t.Skip("two GPUs are not tested: this needs the double of the driver (make test-cuda)")
	}
}

// Two processes with a GPU each train to the parameters of two encoders whose buckets are added up on the CPU.
func TestRanksOnGPUsAddGradientsUpThemselves(t *testing.T) {
	if isRank(t) {
		return
	}
	skipWithoutDouble(t)
	dir := t.TempDir()
	paths := []string{dir + "/0.safetensors", dir + "/1.safetensors", dir + "/cpu.safetensors"}
	out := startRanks(t, []int{0, 1}, paths)
	var ranks [2]clip.BucketedEncoder
	for k := range ranks {
		e := Image(newDeep)
		defer e.Close()
		if _, err := e.Configure(t.Context(), rankConfig); err != nil {
			t.Fatal(err)
		}
		ranks[k] = e.(clip.BucketedEncoder)
	}
	for step := 1; step <= 3; step++ {
		var sum *tensor.Tensor
		for k, e := range ranks {
			images, grad := rankRequest(k)
			for micro := range 2 {
				_, ticket, err := e.Forward(t.Context(), clip.ForwardRequest{Images: images, Mode: clip.Train, Step: step - 1, Micro: micro})
				if err == nil && micro == 0 {
					err = e.Backward(t.Context(), ticket, grad)
				} else if err == nil {
					err = e.BackwardLast(t.Context(), ticket, grad, nil)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			g, err := e.Gradients(t.Context(), 0, nil)
			if err != nil {
				t.Fatal(err)
			}
			if k == 0 {
				sum = g
				continue
			}
			for i, v := range g.F32() {
				sum.F32()[i] += v
			}
		}
		for _, e := range ranks {
			if err := e.StepWith(t.Context(), step, .01, 1, []*tensor.Tensor{sum}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := ranks[0].Save(t.Context(), paths[2]); err != nil {
		t.Fatal(err)
	}
	first, err := os.ReadFile(paths[0])
	second, err2 := os.ReadFile(paths[1])
	if err != nil || err2 != nil || !bytes.Equal(first, second) || strings.Count(out[0], "norm ") != 3 {
		t.Fatalf("ranks differ or failed:\n%s\n%s", out[0], out[1])
	}
	got, want := arrays(t, paths[0]), arrays(t, paths[2])
	if len(want) < 6 || len(got) != len(want) {
		t.Fatalf("%d arrays, want %d", len(got), len(want))
	}
	for name, w := range want {
		for i, v := range got[name] {
			if math.Abs(float64(v-w[i])) > 1e-6*max(1, math.Abs(float64(w[i]))) {
				t.Errorf("%s[%d] is %v, on the CPU %v", name, i, v, w[i])
				break
			}
		}
	}
}

func arrays(t *testing.T, path string) map[string][]float32 {
	t.Helper()
	f, err := weights.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all := map[string][]float32{}
	for _, name := range f.Names() {
		v, err := f.F32(name)
		if err != nil {
			t.Fatal(err)
		}
		all[name] = slices.Clone(v)
	}
	return all
}

// What NCCL refuses is said with a remedy.
func TestGroupsThatNCCLRefuses(t *testing.T) {
	if isRank(t) {
		return
	}
	skipWithoutDouble(t)
	dir := t.TempDir()
	paths := []string{dir + "/0", dir + "/1"}
	for what, c := range map[string]struct {
		gpus []int
		env  [][]string
		want []string
	}{
		"two ranks on one GPU": {[]int{0, 0}, nil, []string{"Duplicate GPU", "a GPU of its own for every rank"}},
		"two versions of NCCL": {[]int{0, 1}, [][]string{nil, {"TANDEM_CUDA_DOUBLE_NCCL=22005"}}, []string{"Mismatched NCCL version", "one version on all"}},
		"a rank without NCCL":  {[]int{0}, [][]string{{"TANDEM_NCCL=/nowhere/libnccl.so.2"}}, []string{"NCCL is missing", "pip install nvidia-nccl-cu12"}},
	} {
		for rank, text := range startRanks(t, c.gpus, paths, c.env...) {
			for _, want := range c.want {
				if !strings.Contains(text, want) {
					t.Errorf("%s: rank %d says %q, want %q", what, rank, text, want)
				}
			}
		}
	}
}
