package main_test

import (
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// With micro-batches of 256 (GradCache, Gao et al. 2021), batches of 4096 pairs of the quickstart's model
// train in under twice the memory of batches of 256: all processes together, memory that they share
// counted once.
func TestLargeBatchesInTheMemoryOfSmallOnes(t *testing.T) {
	if os.Getenv("TANDEM_LONG") == "" {
		t.Skip("half a minute; TANDEM_LONG is not set")
	}
	dir := t.TempDir()
	pairs(t, dir, 4200)
	peak := func(batch int) (sum int64) {
		var b struct {
			Memory []struct {
				Part         string
				Peak, Shared int64
			}
		}
		out := must(t, dir, "bench", quickstart(t), "--memory", "--json", "--steps", "2", "--warmup", "1",
			"--set", "data.train.dataset=csv", "--set", "data.train.with={file: "+dir+"/pairs.csv, same_image: separate}",
			"--set", fmt.Sprintf("train.batch_size=%d", batch), "--set", "train.micro_batch_size=256")
		if err := json.Unmarshal([]byte(out), &b); err != nil {
			t.Fatal(err)
		}
		shared := int64(0)
		for _, p := range b.Memory {
			sum += p.Peak - p.Shared
			shared = max(shared, p.Shared) // the image tower sees all pictures
		}
		return sum + shared
	}
	small, large := peak(256), peak(4096)
	if small == 0 {
		t.Skip("this system does not say how much memory processes take")
	}
	t.Logf("batch 256: %d MB, batch 4096: %d MB, %.2f times", small/1e6, large/1e6, float64(large)/float64(small))
	if large >= 2*small {
		t.Errorf("batches of 4096 take %d bytes, of 256 %d", large, small)
	}
}

func quickstart(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs("../../experiments/quickstart.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// pairs writes n captions of 64 pictures of 32×32 pixels as pairs.csv.
func pairs(t *testing.T, dir string, n int) {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 64 {
		m := image.NewRGBA(image.Rect(0, 0, 32, 32))
		for k := range 32 * 32 {
			m.Set(k%32, k/32, color.RGBA{uint8(rng.UintN(256)), uint8(rng.UintN(256)), uint8(rng.UintN(256)), 255})
		}
		f, err := os.Create(filepath.Join(dir, fmt.Sprintf("%d.png", i)))
		if err != nil {
			t.Fatal(err)
		}
		if err := png.Encode(f, m); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	var table strings.Builder
	table.WriteString("image,caption\n")
	for i := range n {
		fmt.Fprintf(&table, "%d.png,picture %d of %s\n", i%64, i, []string{"a cat", "a dog", "the sun"}[i%3])
	}
	write(t, dir, "pairs.csv", table.String())
}
