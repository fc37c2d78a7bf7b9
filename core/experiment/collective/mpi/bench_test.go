package mpi

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// BenchmarkSum compares sums of 600 MB in buckets of 25 MB with MPI_Allreduce, in the same processes and in turns:
// go test -run '^$' -bench Sum -benchtime 1x. TANDEM_MPI_BENCH has further options of mpirun ("--mca btl tcp,self").
func BenchmarkSum(b *testing.B) {
	for _, n := range []int{2, 4} {
		b.Run(fmt.Sprintf("ranks=%d", n), func(b *testing.B) {
			for b.Loop() {
				out, err := output(ranks(b, n, "bench", strings.Fields(os.Getenv("TANDEM_MPI_BENCH"))...))
				if err != nil {
					b.Fatalf("%v\n%s", err, out)
				}
				for _, text := range strings.Split(out, "\n") {
					var value float64
					var unit string
					if n, _ := fmt.Sscanf(text, "metric %f %s", &value, &unit); n == 2 {
						b.ReportMetric(value, unit)
					}
				}
			}
		})
	}
}

// bench is a rank that measures.
func bench(ctx context.Context) error {
	opened, err := Open(ctx)
	if err != nil {
		return err
	}
	g := opened.(*group)
	values := make([]float32, 150e6)
	for i := range values {
		values[i] = 1
	}
	inBuckets := func(f func([]float32) error) (float64, error) {
		if err := g.Barrier(ctx); err != nil {
			return 0, err
		}
		start := time.Now()
		for bucket := range slices.Chunk(values, pieceBytes/4) {
			if err := f(bucket); err != nil {
				return 0, err
			}
		}
		return time.Since(start).Seconds(), nil
	}
	var sums, reductions []float64
	for range 7 {
		s, err := inBuckets(func(bucket []float32) error { _, err := g.Sum(ctx, bucket); return err })
		if err != nil {
			return err
		}
		r, err := inBuckets(func(bucket []float32) error { return g.do(ctx, func() error { return allreduce(bucket) }) })
		if err != nil {
			return err
		}
		sums, reductions = append(sums, s), append(reductions, r)
	}
	few := make([]float64, 64)
	start := time.Now()
	const rounds = 1000
	for range rounds {
		if err := g.SumDoubles(ctx, few); err != nil {
			return err
		}
	}
	small := time.Since(start).Seconds() / rounds
	if g.Rank() == 0 {
		slices.Sort(sums)
		slices.Sort(reductions)
		for unit, value := range map[string]float64{
			"s/sum-median": sums[3], "s/allreduce-median": reductions[3], "s/sum-least": sums[0], "s/allreduce-least": reductions[0],
			"ratio-median": sums[3] / reductions[3], "µs/64-doubles": small * 1e6,
		} {
			fmt.Println("metric", value, unit)
		}
	}
	return g.Close()
}
