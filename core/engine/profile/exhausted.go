package profile

import (
	"errors"
	"fmt"
	"strings"

	"tandem/core/clip"
	"tandem/core/engine/device"
	"tandem/core/fault"
)

// Exhausted adds to a fault.Exhausted what there is of a backend's memory, what has been taken and for what,
// and what was wanted beside that; any other error is returned as it is.
func Exhausted(err error, backend device.Backend, taken, wanted []clip.MemoryPart, remedy string) error {
	var f *fault.Error
	if !errors.As(err, &f) || f.Kind != fault.Exhausted {
		return err
	}
	var b strings.Builder
	if m, ok := backend.(device.MemoryMeter); ok {
		now := m.DeviceMemory()
		fmt.Fprintf(&b, "%s: %s of %s free; this process has %s", backend.Name(), clip.FormatBytes(now.Free), clip.FormatBytes(now.Total), clip.FormatBytes(now.Used))
		if now.Limit > 0 {
			fmt.Fprintf(&b, " of the %s that it may take", clip.FormatBytes(now.Limit))
		}
		b.WriteString("\n")
		if now.Scratch > 0 {
			taken = append(taken, clip.MemoryPart{Name: "scratch", Bytes: now.Scratch})
		}
	}
	b.WriteString(clip.FormatMemory("taken", taken) + clip.FormatMemory("wanted", wanted))
	f.Hint, f.Detail = remedy, b.String()
	return err
}
