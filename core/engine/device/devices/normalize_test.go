package devices

import (
	"encoding/json"
	"math"
	"os"
	"testing"

	"tandem/core/engine/device"
)

// TestNormalizedPixelsAreOpenCLIPs holds every backend to testdata/normalize.json, which
// tools/goldens/vision/photos.py makes with open_clip.image_transform: all 256 levels, in red, green
// and blue. OpenCLIP rounds to float32 after each of three steps, which makes up to 2.4e-7 of values
// under 2.7.
func TestNormalizedPixelsAreOpenCLIPs(t *testing.T) {
	data, err := os.ReadFile("testdata/normalize.json")
	if err != nil {
		t.Fatal(err)
	}
	var want [3][256]float32
	if err := json.Unmarshal(data, &want); err != nil {
		t.Fatal(err)
	}
	levels := make([]byte, 3*256)
	for v := range 256 {
		levels[3*v], levels[3*v+1], levels[3*v+2] = byte(v), byte(v), byte(v)
	}
	kernel := device.Normalize{N: 256, // core/engine/tower's CLIPMean and CLIPStd
		Mean: [3]float64{.48145466, .4578275, .40821073}, Std: [3]float64{.26862954, .26130258, .27577711}}
	for _, info := range List() {
		if !info.Available {
			continue
		}
		b, err := Open(info.Name, 2)
		if err != nil {
			t.Fatal(err)
		}
		exec, err := b.Prepare(kernel)
		if err != nil {
			t.Fatal(err)
		}
		in, errIn := b.Alloc(device.U8, len(levels))
		out, errOut := b.Alloc(device.Real, len(levels))
		if errIn != nil || errOut != nil {
			t.Fatal(errIn, errOut)
		}
		b.Write(in, levels)
		exec.Run([]device.Buffer{in, out})
		got, worst := make([]float32, len(levels)), 0.0
		b.Read(got, out)
		for i, v := range got {
			worst = max(worst, math.Abs(float64(v)-float64(want[i%3][i/3])))
		}
		if !(worst <= 4e-7) {
			t.Errorf("%s: differs by %.2g", info.Name, worst)
		}
		b.Free(in)
		b.Free(out)
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
}
