package main

import (
	"fmt"

	"tandem/core/engine/device/cuda/kernels"
)

// A kernel may have this much static shared memory on every GPU without asking for more.
const maxShared = 48 << 10

// allowedLocal lists the kernels whose threads may have this many bytes in local memory, which lies in device memory
// behind the caches; everything else keeps what it has in registers.
var allowedLocal = map[string]int{}

// The committed PTX spills nothing with the assemblers of drivers of CUDA 12 and 13. With that of 11.8, and in what other
// compilers make of the sources, which is not what runs, a few registers may spill: bytes a thread stored and loaded.
const spillsElsewhere = 96

// strict says that this is the committed PTX with an assembler of today's drivers.
func (u use) strict() bool { return u.toolkit == "ptx12" || u.toolkit == "ptx13" }

// limits holds what a multiprocessor has: CUDA C++ Programming Guide, "Compute Capabilities", technical specifications.
type limits struct{ threads, blocks, registers, shared, reserved int }

var multiprocessor = map[int]limits{
	70: {2048, 32, 65536, 96 << 10, 0},
	75: {1024, 16, 65536, 64 << 10, 0},
	80: {2048, 32, 65536, 164 << 10, 1 << 10},
	86: {1536, 16, 65536, 100 << 10, 1 << 10},
	89: {1536, 24, 65536, 100 << 10, 1 << 10},
	90: {2048, 32, 65536, 228 << 10, 1 << 10},
}

// small lists architectures with fewer threads and less shared memory in a multiprocessor than those before or after.
// __launch_bounds__ cannot tell them apart: there, what it asks for need not fit but for the registers.
var small = map[int]bool{75: true, 86: true, 89: true}

// sharedBlocks returns how many blocks fit a multiprocessor by their static shared memory.
func sharedBlocks(u use) int {
	l := multiprocessor[u.sm]
	if u.shared+l.reserved == 0 {
		return l.blocks
	}
	return l.shared / (u.shared + l.reserved)
}

// resident returns how many blocks of a kernel a multiprocessor holds at once, dynamic shared memory not counted.
func resident(u use, threads int) int {
	l := multiprocessor[u.sm]
	warps := (threads + 31) / 32
	blocks := min(l.blocks, l.threads/(warps*32))
	// Registers are given to a warp in portions of 256.
	if warp := (u.registers*32 + 255) / 256 * 256; warp > 0 {
		blocks = min(blocks, l.registers/warp/warps)
	}
	return min(blocks, sharedBlocks(u))
}

// check says what is over budget.
func check(u use, e kernels.Entry) []string {
	var wrong []string
	bad := func(format string, values ...any) {
		wrong = append(wrong, fmt.Sprintf("%s.cu: %s: toolkit %s, sm_%d: ", u.source, u.kernel, u.toolkit, u.sm)+fmt.Sprintf(format, values...))
	}
	if _, known := multiprocessor[u.sm]; !known {
		bad("limits of the architecture are unknown")
		return wrong
	}
	if u.spills > spillsElsewhere || u.spills > 0 && u.strict() {
		bad("spills %d bytes of registers a thread", u.spills)
	}
	if u.spills == 0 && u.local > allowedLocal[u.kernel] {
		bad("%d bytes of local memory a thread, want at most %d", u.local, allowedLocal[u.kernel])
	}
	if u.shared > maxShared {
		bad("%d bytes of static shared memory, want at most %d", u.shared, maxShared)
	}
	if e.MaxThreads == 0 {
		bad("no __launch_bounds__ in the committed PTX")
		return wrong
	}
	want := min(e.MinBlocks, multiprocessor[u.sm].threads/e.MaxThreads)
	if small[u.sm] {
		want = min(want, sharedBlocks(u))
	}
	if got := resident(u, e.MaxThreads); got < max(want, 1) {
		bad("%d registers and %d bytes: %d blocks of %d threads fit, want %d", u.registers, u.shared, got, e.MaxThreads, max(want, 1))
	}
	return wrong
}
