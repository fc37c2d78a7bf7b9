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
	Part   string `json:"part"`             // image, text, loss, data.train, eval.…; runner; "image, text, loss" where one serves them
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
	shared := -1 // the entry of the process that serves several plugins
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
		switch {
		case !p.Colocated():
			list = append(list, x)
		case shared < 0:
			shared, list = len(list), append(list, x)
		default:
			list[shared].join(x)
		}
	}
	return list, nil
}

// join adds what another plugin of the same process planned. The program is that of the one that was configured first:
// what the others had taken by then counts as theirs.
func (x *ProcessMemory) join(other ProcessMemory) {
	x.Part, x.Plugin = x.Part+", "+other.Part, x.Plugin+", "+other.Plugin
	x.Peak, x.Shared, x.Planned = max(x.Peak, other.Peak), max(x.Shared, other.Shared), 0
	for _, part := range other.Plan {
		i := slices.IndexFunc(x.Plan, func(p clip.MemoryPart) bool { return p.Name == part.Name })
		switch {
		case i < 0:
			x.Plan = append(x.Plan, part)
		case part.Name == partProgram:
			x.Plan[i].Bytes = min(x.Plan[i].Bytes, part.Bytes)
		case part.Name == partShared:
			x.Plan[i].Bytes = max(x.Plan[i].Bytes, part.Bytes)
		default:
			x.Plan[i].Bytes += part.Bytes
		}
	}
	for _, part := range x.Plan {
		if x.Device == "" || part.Name == partShared || part.Name == partProgram {
			x.Planned += part.Bytes
		}
	}
}

// The parts of a plan that lie in the machine's memory, whatever the device.
const (
	partShared  = "shared"
	partProgram = "program"
)

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
	x.Plan = append(slices.Clone(parts), clip.MemoryPart{Name: partShared, Bytes: x.Shared},
		clip.MemoryPart{Name: partProgram, Bytes: program})
	for i, part := range x.Plan {
		if x.Device == "" || i >= len(parts) {
			x.Planned += part.Bytes
		}
	}
}
