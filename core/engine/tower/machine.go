package tower

import (
	"syscall"

	"tandem/core/clip"
	"tandem/core/engine/device"
	"tandem/core/fault"
)

// checkMachine refuses a network whose parameters alone are more than the machine's memory, before anything is allocated: the
// system would grant it and end whoever uses it. Hardware with memory of its own says so itself.
func (e *encoder) checkMachine(b device.Backend, p *params, c clip.EncoderConfig) error {
	if _, own := b.(device.MemoryMeter); own {
		return nil
	}
	var system syscall.Sysinfo_t
	if syscall.Sysinfo(&system) != nil {
		return nil
	}
	return checkMemory(e.fixedParts(p, c), (int64(system.Totalram)+int64(system.Totalswap))*int64(system.Unit))
}

// checkMemory refuses parts that together take more than total bytes.
func checkMemory(wanted []clip.MemoryPart, total int64) error {
	sum := int64(0)
	for _, part := range wanted {
		sum += part.Bytes
	}
	if sum <= total {
		return nil
	}
	return fault.New(fault.Exhausted, "the network's parameters and what trains them take %s, this machine has %s", clip.FormatBytes(sum), clip.FormatBytes(total)).
		WithPath("with.width").WithHint("check width, layers and the sizes of pictures, contexts and vocabularies").WithDetail(clip.FormatMemory("wanted", wanted))
}
