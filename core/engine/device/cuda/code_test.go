//go:build clipcuda

package cuda

import (
	"testing"

	"tandem/core/engine/device"
	"tandem/core/engine/device/cuda/kernels"
	"tandem/core/engine/device/devicetest"
)

// This needs neither a GPU nor the double.
func TestEveryLaunchIsOfAKernelThatTakesIt(t *testing.T) {
	entries := kernels.Entries(70)
	list := devicetest.Trials()
	for _, k := range []device.Kernel{ // shapes of real towers, with launches of their own
		device.LayerNorm{Rows: 100, Cols: 768}, device.LayerNorm{Rows: 100, Cols: 1664},
		device.LayerNormBack{Rows: 51200, Cols: 768}, device.LayerNormBack{Rows: 100, Cols: 1664},
		device.SumRows{Rows: 51200, Cols: 3072}, device.SumRows{Rows: 1024, Cols: 50 * 768},
		device.SumCols{Rows: 1, Cols: 1 << 25}, device.SumCols{Rows: 1024, Cols: 32768},
		device.CrossEntropyBack{Rows: 1024, Cols: 32768},
		device.GatherBack{Rows: 49408, Cols: 512, N: 78848}, device.Transpose{B: 70000, M: 3, N: 2},
		device.AdamW{N: 150_000_000}, device.Patchify{B: 1024, H: 224, W: 224, C: 3, P: 14},
		device.Binary{N: 1024 * 50 * 768, Period: 50 * 768, Op: device.OpAdd},
	} {
		list = append(list, devicetest.Trial{Kernel: k})
	}
	for _, c := range list {
		code, ok := codeOf(c.Kernel)
		if !ok {
			continue // products and convolutions are of libraries
		}
		for _, l := range code.launches {
			if l.call != nil {
				continue
			}
			e, ok := entries[l.entry]
			threads := max(l.block.x, 1) * max(l.block.y, 1) * max(l.block.z, 1)
			if !ok || len(l.params) != e.Params || threads > e.MaxThreads ||
				min(l.grid.x, l.grid.y, l.grid.z) < 0 || max(l.grid.y, l.grid.z) > 65535 || l.grid.x > 1<<31-1 {
				t.Errorf("%T%+v: %s is launched with grid %v, block %v and %d parameters; the kernel is %+v",
					c.Kernel, c.Kernel, l.entry, l.grid, l.block, len(l.params), e)
			}
			for _, p := range l.params {
				if at, ok := p.(temp); ok && (int(at) >= code.scratch || at%256 != 0) {
					t.Errorf("%T%+v: %s is given byte %d of %d of the scratch", c.Kernel, c.Kernel, l.entry, at, code.scratch)
				}
			}
		}
	}
}
