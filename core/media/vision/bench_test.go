package vision

import (
	"bytes"
	"image/jpeg"
	"os"
	"syscall"
	"testing"
	"time"

	"tandem/core/random"
)

// photo256 returns a photograph of 256 × 256 as a JPEG of quality 90, 4:2:0. TANDEM_BENCH_JPEG names a file to
// write it to, for a comparison with other programs.
func photo256(b *testing.B) []byte {
	data, err := os.ReadFile("testdata/photos/face-444.jpg")
	if err != nil {
		b.Fatal(err)
	}
	p, err := Decode(data, Options{})
	if err != nil {
		b.Fatal(err)
	}
	square := NewPicture(256, 256)
	new(Resizer).Evaluate(square.Pix, p, 256)
	var file bytes.Buffer
	if err := jpeg.Encode(&file, square.Image(), &jpeg.Options{Quality: 90}); err != nil {
		b.Fatal(err)
	}
	if path := os.Getenv("TANDEM_BENCH_JPEG"); path != "" {
		if err := os.WriteFile(path, file.Bytes(), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	return file.Bytes()
}

// processorTime returns how long this process has computed, on all processors together. It tells the speed on a busy machine too.
func processorTime() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		panic(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// BenchmarkJPEG256ToCrop224 measures one training sample of one worker: decode, random resized crop, flip.
func BenchmarkJPEG256ToCrop224(b *testing.B) {
	file := photo256(b)
	p := CropParams{Scale: [2]float64{.9, 1}, Ratio: [2]float64{.75, 4. / 3}}
	run := func(b *testing.B) {
		var r Resizer
		dst := make([]byte, 3*224*224)
		s := random.New(1, "bench")
		before := processorTime()
		for b.Loop() {
			src, err := Decode(file, Options{})
			if err != nil {
				b.Fatal(err)
			}
			r.Augment(dst, src, 224, s, p, .5)
			Recycle(src)
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "images/s")
		b.ReportMetric(float64(b.N)/(processorTime()-before).Seconds(), "images/cpu-s")
	}
	if turbo.decode != nil {
		b.Run("libjpeg", run)
	}
	b.Run("go", func(b *testing.B) {
		saved := turbo
		defer func() { turbo = saved }()
		turbo.decode = nil
		run(b)
	})
}

func BenchmarkJPEG256Decode(b *testing.B) {
	file := photo256(b)
	before := processorTime()
	for b.Loop() {
		p, err := Decode(file, Options{})
		if err != nil {
			b.Fatal(err)
		}
		Recycle(p)
	}
	b.ReportMetric(float64(b.N)/(processorTime()-before).Seconds(), "images/cpu-s")
}
