package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"tandem/core/engine/device/cuda/kernels"
)

// The table is of the committed PTX, which is what a driver translates.
const tabled = "ptx12"

var architectures = []int{70, 75, 80, 86, 89, 90}

const heading = `# What the GPU kernels need

Made by ` + "`make cuda-matrix`" + ` (tools/cuda/matrix.sh), which also compiles all kernels with the toolkits below, any
warning being an error, and fails when one is over budget. Nothing here was run on a GPU: it is what NVIDIA's compilers
say. Figures are of the committed PTX, translated by the assembler of CUDA 12.9; a driver's own may differ a little.

| column | |
|---|---|
| block | threads of a block at most; × how many blocks a multiprocessor shall hold (` + "`__launch_bounds__`" + `) |
| registers | of a thread, by architecture; a thread can have 255 |
| shared | bytes of static shared memory of a block, the largest of all architectures; at most 48 KiB. What a launch adds is not counted |
| local | bytes of a thread in local memory, the largest of all architectures |
| spills | bytes of registers that a thread stores and loads again, the largest of all architectures: of the committed PTX with CUDA 12 and 13, budget 0; in brackets the largest of all else, budget 96 |
| resident | share of a multiprocessor's threads that run at once, without dynamic shared memory |

`

// writeTable writes docs/cuda-kernels.md. Entries is what the PTX says of the kernels, by name.
func writeTable(w io.Writer, uses []use, entries map[string]kernels.Entry) {
	fmt.Fprint(w, heading)
	writeToolkits(w, uses)
	byKernel := map[string]map[int]use{}
	spills, elsewhere := map[string]int{}, map[string]int{}
	bySource := map[string][]string{}
	for _, u := range uses {
		if u.strict() {
			spills[u.kernel] = max(spills[u.kernel], u.spills)
		} else {
			elsewhere[u.kernel] = max(elsewhere[u.kernel], u.spills)
		}
		if u.toolkit != tabled {
			continue
		}
		if byKernel[u.kernel] == nil {
			byKernel[u.kernel] = map[int]use{}
			bySource[u.source] = append(bySource[u.source], u.kernel)
		}
		byKernel[u.kernel][u.sm] = u
	}
	for _, source := range sortedKeys(bySource) {
		fmt.Fprintf(w, "\n## %s.cu\n\n| kernel | block | registers %s | shared | local | spills | resident sm_80, sm_90 |\n|---|---|---|---|---|---|---|\n",
			source, joinNames(architectures, func(sm int) string { return fmt.Sprint("sm_", sm) }))
		names := bySource[source]
		slices.Sort(names)
		for _, name := range slices.Compact(names) {
			writeRow(w, entries[name], byKernel[name], fmt.Sprintf("%d (%d)", spills[name], elsewhere[name]))
		}
	}
}

func writeRow(w io.Writer, e kernels.Entry, of map[int]use, spills string) {
	shared, local := 0, 0
	for _, u := range of {
		shared, local = max(shared, u.shared), max(local, u.local)
	}
	block := fmt.Sprint(e.MaxThreads)
	if e.MinBlocks > 1 {
		block += fmt.Sprint(" × ", e.MinBlocks)
	}
	registers := joinNames(architectures, func(sm int) string {
		if u, ok := of[sm]; ok {
			return fmt.Sprint(u.registers)
		}
		return "–"
	})
	share := func(sm int) string {
		u, ok := of[sm]
		if !ok {
			return "–"
		}
		return fmt.Sprintf("%d %%", 100*resident(u, e.MaxThreads)*e.MaxThreads/multiprocessor[sm].threads)
	}
	fmt.Fprintf(w, "| `%s` | %s | %s | %d | %d | %s | %s, %s |\n", e.Name, block, registers, shared, local, spills, share(80), share(90))
}

// writeToolkits says how many kernels each toolkit compiled for what, and where it needs the most registers.
func writeToolkits(w io.Writer, uses []use) {
	title := map[string]string{
		"11":    "nvcc 11.8 (Debian's package, headers from PyPI)",
		"12":    "NVRTC 12.9 and ptxas 12.9 (PyPI)",
		"13":    "nvcc 13 (PyPI); it no longer knows sm_70",
		"ptx11": "the committed PTX (NVRTC 11.8.89), ptxas 11.8",
		"ptx12": "the committed PTX, ptxas 12.9",
		"ptx13": "the committed PTX, ptxas 13",
	}
	type total struct {
		kernels map[string]bool
		sm      map[int]bool
		most    use
		spilled int
	}
	totals := map[string]*total{}
	for _, u := range uses {
		t := totals[u.toolkit]
		if t == nil {
			t = &total{kernels: map[string]bool{}, sm: map[int]bool{}}
			totals[u.toolkit] = t
		}
		t.kernels[u.kernel], t.sm[u.sm] = true, true
		if u.registers > t.most.registers {
			t.most = u
		}
		if u.spills > 0 {
			t.spilled++
		}
	}
	fmt.Fprint(w, "| toolkit | kernels | architectures | most registers | with spills |\n|---|---|---|---|---|\n")
	for _, name := range sortedKeys(totals) {
		t := totals[name]
		fmt.Fprintf(w, "| %s | %d | %s | %d (`%s`, sm_%d) | %d |\n", title[name], len(t.kernels),
			joinNames(sortedKeys(t.sm), func(sm int) string { return fmt.Sprint(sm) }), t.most.registers, t.most.kernel, t.most.sm, t.spilled)
	}
}

func joinNames(list []int, name func(int) string) string {
	words := make([]string, len(list))
	for i, v := range list {
		words[i] = name(v)
	}
	return strings.Join(words, " ")
}
