package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"tandem/core/engine/device/cuda/kernels"
)

const log = `ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'rows' for 'sm_80'
ptxas info    : Function properties for rows
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 40 registers, used 1 barriers, 4096 bytes smem, 384 bytes cmem[0]
ptxas info    : Compiling entry function 'wide' for 'sm_80'
ptxas info    : Function properties for wide
    24 bytes stack frame, 8 bytes spill stores, 16 bytes spill loads
ptxas info    : Used 255 registers, 400 bytes cmem[0]
`

func TestWhatPtxasPrintsIsRead(t *testing.T) {
	want := []use{{kernel: "rows", registers: 40, shared: 4096}, {kernel: "wide", registers: 255, local: 24, spills: 24}}
	if got := parse(log); !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestEveryBudgetIsHeld(t *testing.T) {
	bounds := kernels.Entry{Name: "k", MaxThreads: 256, MinBlocks: 2}
	for _, c := range []struct {
		name string
		use  use
		e    kernels.Entry
		want string // part of the one complaint; none when empty
	}{
		{"a modest kernel", use{sm: 80, registers: 40, shared: 4096}, bounds, ""},
		{"128 registers, two blocks of 256", use{sm: 80, registers: 128}, bounds, ""},
		{"spills", use{toolkit: "ptx13", sm: 80, registers: 40, local: 16, spills: 32}, bounds, "spills 32 bytes"},
		{"a few spills in what is not shipped", use{toolkit: "11", sm: 80, registers: 40, local: 16, spills: 32}, bounds, ""},
		{"many spills anywhere", use{toolkit: "11", sm: 80, registers: 40, local: 16, spills: 100}, bounds, "spills 100 bytes"},
		{"local memory", use{sm: 80, registers: 40, local: 16}, bounds, "16 bytes of local memory"},
		{"too much shared memory", use{sm: 80, registers: 40, shared: 50000}, bounds, "50000 bytes of static shared"},
		{"too many registers for two blocks", use{sm: 80, registers: 136}, bounds, "1 blocks of 256 threads fit, want 2"},
		{"too many registers for one block", use{sm: 80, registers: 72}, kernels.Entry{MaxThreads: 1024, MinBlocks: 1}, "0 blocks of 1024"},
		{"shared memory for two of three blocks", use{sm: 70, registers: 40, shared: 40000}, kernels.Entry{MaxThreads: 256, MinBlocks: 3}, "2 blocks of 256 threads fit, want 3"},
		{"the same where there is less of it", use{sm: 86, registers: 40, shared: 40000}, kernels.Entry{MaxThreads: 256, MinBlocks: 3}, ""},
		{"two blocks of 1024 do not fit on Turing, which is nobody's fault", use{sm: 75, registers: 32}, kernels.Entry{MaxThreads: 1024, MinBlocks: 2}, ""},
		{"no launch bounds", use{sm: 80, registers: 40}, kernels.Entry{MinBlocks: 1}, "no __launch_bounds__"},
		{"an unknown architecture", use{sm: 61, registers: 40}, bounds, "unknown"},
	} {
		got := check(c.use, c.e)
		if c.want == "" && len(got) > 0 || c.want != "" && (len(got) != 1 || !strings.Contains(got[0], c.want)) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func TestTheTableHasTheWorstOfAllToolkits(t *testing.T) {
	var b bytes.Buffer
	writeTable(&b, []use{
		{toolkit: "ptx12", sm: 80, source: "maps", kernel: "pool", registers: 30, shared: 128},
		{toolkit: "ptx12", sm: 90, source: "maps", kernel: "pool", registers: 32, shared: 256},
		{toolkit: "13", sm: 90, source: "maps", kernel: "pool", registers: 31, spills: 8},
	}, map[string]kernels.Entry{"pool": {Name: "pool", MaxThreads: 256, MinBlocks: 4}})
	if row := "| `pool` | 256 × 4 | – – 30 – – 32 | 256 | 0 | 0 (8) | 100 %, 100 % |"; !strings.Contains(b.String(), row) {
		t.Errorf("no row %q in\n%s", row, b.String())
	}
}
