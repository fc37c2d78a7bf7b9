package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

func tables(w io.Writer, folder string) error {
	fmt.Fprintf(w, "| rates | f32, TFLOP/s | TF32 | bf16 | memory, TB/s | GB | from the host, GB/s | |\n|---|---|---|---|---|---|---|---|\n")
	for _, g := range gpus {
		tf := "–"
		if g.TF32 > 0 {
			tf = fmt.Sprintf("%.0f", g.TF32/1e12)
		}
		fmt.Fprintf(w, "| %s | %.1f | %s | %.0f | %.2f | %.0f | %.0f | %s |\n", g.Name, g.F32/1e12, tf, g.BF16/1e12, g.Bandwidth/1e12,
			g.Memory/1e9, g.Host/1e9, g.Source)
	}
	fmt.Fprintf(w, "\nExpected of the data sheets' rates: %.0f %% of the tensor cores' rate in products by cuBLAS, %.0f %% in kernels of ours on tensor cores, %.0f %% of the f32 rate in "+
		"arithmetic of ours outside them, %.0f %% of the memory's rate. These four are assumptions.\n",
		100*ofSheet.Products, 100*ofSheet.Tensor, 100*ofSheet.Vector, 100*ofSheet.Bandwidth)
	last := gpus[len(gpus)-1]
	fmt.Fprintf(w, "\nExpected of *%s*: %.0f TFLOP/s in products by cuBLAS, %.0f in kernels of ours on tensor cores, %.1f in arithmetic of ours outside them, %.1f TB/s. These four are "+
		"assumptions too. Its share of the peak is that of the measured %.0f TFLOP/s.\n",
		last.Name, last.BF16*last.Reached.Products/1e12, last.BF16*last.Reached.Tensor/1e12, last.F32*last.Reached.Vector/1e12, last.Bandwidth*last.Reached.Bandwidth/1e12, last.BF16/1e12)
	for _, m := range models {
		if err := m.write(w, folder); err != nil {
			return err
		}
	}
	return nil
}

func (m model) write(w io.Writer, folder string) error {
	low, err := m.parts(folder, bf16)
	if err != nil {
		return err
	}
	var work float64
	batch := low[0].Batch
	for _, p := range low {
		work += p.Work
	}
	fmt.Fprintf(w, "\n### %s, batch %d\n\n%.1f TFLOP a step in products, convolutions and attention, %.1f GFLOP a pair.\n\n", m.Name, batch, work/1e12, work/float64(batch)/1e9)
	fmt.Fprintf(w, "| GPU | precision | launches | moved, GB | floor, ms | expected, ms | expected images/s | of the peak |\n|---|---|---|---|---|---|---|---|\n")
	for _, g := range gpus {
		for _, p := range g.Precisions {
			parts, err := m.parts(folder, p)
			if err != nil {
				return err
			}
			all, _ := sum(parts, g, p)
			fmt.Fprintf(w, "| %s | %v | %d | %.0f | %.0f | %.0f | %s | %.0f %% |\n", g.Name, p, all.launches, all.bytes/1e9, 1e3*all.floor, 1e3*all.expected,
				thousands(float64(batch)/all.expected), 100*work/all.expected/g.peak(p))
		}
	}
	m.writeClasses(w, low)
	writeMemory(w, m, low)
	return nil
}

// writeClasses writes where the time of a step in bf16 goes.
func (m model) writeClasses(w io.Writer, parts []step) {
	fmt.Fprintf(w, "\nWhere the expected time of %s, batch %d, in bf16 goes, in ms:\n\n| kernels | launches | TFLOP | GB |", m.Name, m.Batch)
	for _, g := range gpus {
		fmt.Fprintf(w, " %s |", g.Name)
	}
	fmt.Fprintf(w, "\n|---|---|---|---|%s\n", strings.Repeat("---|", len(gpus)))
	_, first := sum(parts, gpus[0], bf16)
	names := slices.SortedFunc(maps.Keys(first), func(a, b string) int { return cmp.Compare(first[b].expected, first[a].expected) })
	for _, name := range names {
		c := first[name]
		flops := "–"
		if c.flops > 0 {
			flops = fmt.Sprintf("%.2f", c.flops/1e12)
		}
		fmt.Fprintf(w, "| %s | %d | %s | %.1f |", name, c.launches, flops, c.bytes/1e9)
		for _, g := range gpus {
			_, classes := sum(parts, g, bf16)
			t := classes[name]
			fmt.Fprintf(w, " %.1f |", 1e3*t.expected)
		}
		fmt.Fprintln(w)
	}
}

// writeMemory writes how much memory is planned, and which GPUs it fits.
func writeMemory(w io.Writer, m model, parts []step) {
	var all, activations int64
	for _, p := range parts {
		for name, bytes := range p.Memory {
			all += bytes
			if name == "activations" {
				activations += bytes
			}
		}
	}
	var fits, not []string
	for _, g := range gpus {
		if g.Reached == ofMeasured {
			continue // one that is listed by its data sheet
		}
		if float64(all) < .95*g.Memory {
			fits = append(fits, g.Name)
		} else {
			not = append(not, g.Name)
		}
	}
	fmt.Fprintf(w, "\nMemory planned: %.1f GB, %.1f GB of it activations (both towers on one GPU).", float64(all)/1e9, float64(activations)/1e9)
	if len(fits) > 0 {
		fmt.Fprintf(w, " It fits %s.", strings.Join(fits, ", "))
	}
	if len(not) > 0 {
		fmt.Fprintf(w, " It does not fit %s: `train.micro_batch_size` or `train.activation_checkpointing`, both of which compute more.", strings.Join(not, ", "))
	}
	fmt.Fprintln(w)
}

// thousands writes 12345 as 12,345, to three digits.
func thousands(v float64) string {
	unit := 1.
	for v/unit >= 1000 {
		unit *= 10
	}
	n := int(v/unit+.5) * int(unit)
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%d,%03d", n/1000, n%1000)
}
