package measure

import (
	"context"
	"os"
	"slices"

	"tandem/core/clip"
	"tandem/core/experiment/assemble"
	"tandem/core/fault"
	"tandem/core/plugin/child"
)

// ProcessMemory tells the memory of one process: what it planned, and what the system measured. Bytes.
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

// pluginMemory asks every plugin of a model.
func pluginMemory(ctx context.Context, m *assemble.Model) ([]ProcessMemory, error) {
	var list []ProcessMemory
	roles := append(assemble.Computing(m.Spec), assemble.DataRoles(m.Spec)...)
	for _, e := range m.Spec.Eval {
		roles = append(roles, assemble.RoleEval+e.Name)
		if e.Train != nil {
			roles = append(roles, assemble.RoleEvalTrain+e.Name)
		}
	}
	for _, role := range roles {
		p := m.Processes[role]
		parts, base, err := p.Memory(ctx)
		if err != nil && fault.KindOf(err) != fault.Conflict { // of a plugin that is not configured
			return nil, err
		}
		seen := child.MemoryOf(p.PID())
		x := ProcessMemory{Part: role, Plugin: p.Name(), PID: p.PID(), Peak: seen.Peak, Shared: seen.Shared}
		if slices.Contains(assemble.Computing(m.Spec), role) {
			x.Device = assemble.GPU(m.Spec, role)
		}
		x.plan(parts, base)
		list = append(list, x)
	}
	return list, nil
}

// runnerMemory returns the memory of this process, of which program is what it takes beside parts.
func runnerMemory(program int64, parts ...clip.MemoryPart) ProcessMemory {
	self := child.MemoryOf(0)
	x := ProcessMemory{Part: "runner", PID: os.Getpid(), Peak: self.Peak, Shared: self.Shared}
	x.plan(parts, program)
	return x
}

// plan fills Plan and Planned.
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
