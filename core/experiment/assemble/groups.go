package assemble

import (
	"tandem/core/clip"
	"tandem/core/engine/device/devices"
	"tandem/core/experiment/spec"
)

// Groups names a new group of GPUs for every tower whose gradients the GPUs of all ranks add up among themselves, by role: those that are
// trained, on a GPU, by an encoder with clip.CapNCCL. Without NCCL it is fault.Unavailable.
func Groups(s *spec.Spec, used Plugins) (map[string][]byte, error) {
	groups := map[string][]byte{}
	for _, p := range used {
		if p.Role != RoleImage && p.Role != RoleText || towerOf(s, p.Role).Freeze.All || !hasCapability(p.Descriptor, clip.CapNCCL) || GPU(s, p.Role) == "" {
			continue
		}
		id, err := devices.GroupID()
		if err != nil {
			return nil, err
		}
		groups[p.Role] = id
	}
	return groups, nil
}
