package process_test

import (
	"testing"

	"tandem/core/clip"
	"tandem/core/plugin/process"
	"tandem/core/tensor"
)

// What a call costs beyond the plugin's own work: ns/op less server-ns.
func benchmark(b *testing.B, method string, run func(b *testing.B, s *process.Session) *process.Process) {
	s, err := process.NewSession(process.SessionOptions{Catalog: testCatalog(b)})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	p := run(b, s)
	b.StopTimer()
	for _, m := range p.Stats() {
		if m.Method == method {
			b.ReportMetric(float64(m.Server.Nanoseconds())/float64(m.Calls), "server-ns/op")
			b.ReportMetric(float64((m.Client-m.Server).Nanoseconds())/float64(m.Calls), "wire-ns/op")
		}
	}
}

func BenchmarkEmptyCall(b *testing.B) {
	benchmark(b, "GradNorm", func(b *testing.B, s *process.Session) *process.Process {
		e, p := encoder(b, s)
		for b.Loop() {
			if _, err := e.GradNorm(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
		return p
	})
}

// BenchmarkForward sends 256 pictures of 64×64, 3 MiB, from the heap.
func BenchmarkForward(b *testing.B) {
	benchmark(b, "Forward", func(b *testing.B, s *process.Session) *process.Process {
		e, p := encoder(b, s)
		images := tensor.New(tensor.U8, 256, 64, 64, 3)
		b.SetBytes(int64(len(images.Data)))
		for b.Loop() {
			out, _, err := e.Forward(b.Context(), clip.ForwardRequest{Images: images})
			if err != nil {
				b.Fatal(err)
			}
			out.Free()
		}
		return p
	})
}
