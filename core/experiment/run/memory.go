package run

import (
	"context"
	"os"
	"slices"

	"tandem/core/clip"
	"tandem/core/engine/device/devices"
	"tandem/core/fault"
	"tandem/core/plugin/process"
)

// ProcessMemory is the memory of one process: what it planned, and what the system measured. Bytes.
type ProcessMemory struct {
	Part   string `json:"part"`             // image, text, loss, data.train, eval.…; runner
	Plugin string `json:"plugin,omitempty"` // encoders/vit
	PID    int    `json:"pid"`
	// Device has memory of its own, cuda:0, in which all of Plan lies but "program" and "shared"; "" for none.
	Device string `json:"device,omitempty"`
	// Plan is what the memory is for, where the plugin says: parameters, gradients, optimizer,
	// activations, workspace, …; "program" is its code, libraries and runtime, "shared" the pictures
	// and embeddings that it exchanged with others.
	Plan    []clip.MemoryPart `json:"plan"`
	Planned int64             `json:"planned"` // the plan's sum, without what is on Device; 0: the plugin does not say
	Peak    int64             `json:"peak"`    // the most that was resident; 0: the system does not say
	Shared  int64             `json:"shared"`  // of that, memory that other processes count too
}

// memory asks every plugin.
func (m *model) memory(ctx context.Context) ([]ProcessMemory, error) {
	var list []ProcessMemory
	roles := []string{roleImage, roleText, roleLoss, roleData}
	for _, e := range m.spec.Eval {
		roles = append(roles, roleEval+e.Name)
	}
	for _, role := range roles {
		p := m.byRole[role]
		parts, base, err := p.Memory(ctx)
		if err != nil && fault.KindOf(err) != fault.Conflict { // of a plugin that is not configured
			return nil, err
		}
		seen := process.MemoryOf(p.PID())
		x := ProcessMemory{Part: role, Plugin: p.Name(), PID: p.PID(), Peak: seen.Peak, Shared: seen.Shared}
		if slices.Contains(computing, role) && onGPU(m.spec, role) {
			x.Device, _ = devices.Resolve(deviceOf(m.spec, role))
		}
		x.plan(parts, base)
		list = append(list, x)
	}
	return list, nil
}

// memoryOfRunner is that of this process, of which program is what it takes beside parts.
func memoryOfRunner(program int64, parts ...clip.MemoryPart) ProcessMemory {
	self := process.MemoryOf(0)
	x := ProcessMemory{Part: "runner", PID: os.Getpid(), Peak: self.Peak, Shared: self.Shared}
	x.plan(parts, program)
	return x
}

func (x *ProcessMemory) plan(parts []clip.MemoryPart, program int64) {
	if program == 0 {
		return // the plugin says nothing
	}
	x.Plan = append(slices.Clone(parts), clip.MemoryPart{Name: "shared", Bytes: x.Shared},
		clip.MemoryPart{Name: "program", Bytes: program})
	for i, part := range x.Plan {
		if x.Device == "" || i >= len(parts) {
			x.Planned += part.Bytes
		}
	}
}
