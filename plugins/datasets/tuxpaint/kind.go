package main

import (
	"context"
	"path/filepath"
	"sync"
	"sync/atomic"

	"tandem/core/fault"
	"tandem/core/media/vision"
	"tandem/core/plugin/sdk/sample"
)

// ownColours is the share of colours among the pixels of a stamp from which it counts as a photograph. Drawings have few
// colours, also shaded ones: under .15. Photographs have over .3 of them.
const ownColours = 0.25

// arePhotographs tells photographs from drawings by their colours. A picture that cannot be read counts as a photograph;
// it is reported when it is used.
func arePhotographs(ctx context.Context, root string, stamps []stamp, o vision.Options, threads int) ([]bool, error) {
	out := make([]bool, len(stamps))
	var next atomic.Int64
	var wg sync.WaitGroup
	for range max(1, threads) {
		wg.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(stamps) {
					return
				}
				p, err := sample.ReadPicture(filepath.Join(root, filepath.FromSlash(stamps[i].file)), o)
				out[i] = err != nil || isPhotograph(p)
			}
		})
	}
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return nil, fault.New(fault.Canceled, "%w", err)
	}
	return out, nil
}

// isPhotograph compares the number of distinct colours with that of pixels that are not the background's.
func isPhotograph(p vision.Picture) bool {
	corner := [3]byte(p.Row(0))
	colours := map[[3]byte]bool{}
	pixels := 0
	for y := range p.H {
		row := p.Row(y)
		for x := 0; x < len(row); x += 3 {
			if c := [3]byte(row[x:]); c != corner {
				colours[c] = true
				pixels++
			}
		}
	}
	return float64(len(colours)) >= ownColours*float64(max(pixels, 1))
}
