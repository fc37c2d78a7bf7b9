// Command dbgen makes a large results database through core/results/store, as runs would, and says how fast it was
// written and how many bytes a point takes:
//
//	go run ./tools/dbgen -o /tmp/large.db
//	TANDEM_BENCH_DB=/tmp/large.db go test ./core/results/store -run '^$' -bench Large
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"

	"tandem/core/fault"
	"tandem/core/results/store"
	"tandem/core/results/store/storetest"
)

func main() {
	var size storetest.Size
	out := flag.String("o", "", "the database `file` to make; it must not be there yet")
	flag.IntVar(&size.Runs, "runs", 10_000, "how many runs")
	flag.IntVar(&size.Metrics, "metrics", 20, "how many metrics each run records")
	flag.IntVar(&size.Points, "points", 50, "at how many steps it records each")
	flag.Uint64Var(&size.Seed, "seed", 0, "the same numbers for the same seed")
	flag.Parse()
	ctx, end := signal.NotifyContext(context.Background(), os.Interrupt)
	defer end()
	if err := generate(ctx, *out, size); err != nil {
		fmt.Fprintln(os.Stderr, fault.Format(err))
		os.Exit(1)
	}
}

func generate(ctx context.Context, path string, size storetest.Size) error {
	if path == "" {
		return fault.New(fault.Invalid, "where to?").WithHint("-o FILE")
	}
	if _, err := os.Stat(path); err == nil {
		return fault.New(fault.Conflict, "%s is there already", path).WithHint("remove it or name another file")
	}
	db, err := store.Open(path)
	if err != nil {
		return err
	}
	defer db.Close()
	start := time.Now()
	err = storetest.Fill(ctx, db, size, func(runs int) {
		if runs%1000 == 0 {
			fmt.Fprintf(os.Stderr, "%d runs, %.0f points/s\n", runs, float64(runs*size.Metrics*size.Points)/time.Since(start).Seconds())
		}
	})
	if err != nil {
		return err
	}
	if err := db.Close(); err != nil {
		return err
	}
	took := time.Since(start)
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	fmt.Printf("%d runs × %d metrics × %d steps = %d points in %.1f s: %.0f points/s, %.1f MiB, %.1f bytes a point\n",
		size.Runs, size.Metrics, size.Points, size.Total(), took.Seconds(), float64(size.Total())/took.Seconds(),
		float64(info.Size())/(1<<20), float64(info.Size())/float64(size.Total()))
	return nil
}
