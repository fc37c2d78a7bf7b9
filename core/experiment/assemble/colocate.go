package assemble

import (
	"fmt"
	"slices"
	"strings"

	"tandem/core/engine/device/devices"
	"tandem/core/experiment/spec"
	"tandem/core/fault"
	"tandem/core/plugin/catalog"
	"tandem/core/plugin/process"
)

// colocate decides whether one process serves the towers and losses, and tells the watcher of a decision that the spec
// leaves to it. Where train.colocate: true cannot be had the error says why; it has the place of the key in the spec.
func (m *Model) colocate(c *catalog.Catalog, w Watcher) error {
	s := m.Spec
	if s.Train.Colocate != spec.On && s.Train.Colocate != spec.Auto {
		return nil
	}
	roles := sharing(s)
	device, why := sharedDevice(s, roles)
	asked := s.Train.Colocate == spec.On
	if !asked && !strings.HasPrefix(device, "cuda") {
		return nil
	}
	if why == "" {
		var err error
		if m.together, why, err = colocated(c, s, m.plugins, roles); err != nil {
			return err
		}
	}
	switch {
	case why == "":
		w.Event("info", "towers and loss share a process on "+device)
	case asked:
		return cannotColocate(s, why)
	default:
		w.Event("info", "towers and loss share "+device+", but have a process each: "+why)
	}
	return nil
}

// sharedDevice returns the device that all roles compute on; "" and the reason when they compute on several.
func sharedDevice(s *spec.Spec, roles []string) (device, reason string) {
	for _, role := range roles {
		d, _ := devices.Resolve(deviceOf(s, role))
		if device != "" && d != device {
			return "", fmt.Sprintf("%s computes on %s, %s on %s", RoleImage, device, role, d)
		}
		device = d
	}
	return device, ""
}

// colocated returns the process that is to serve the plugins of roles, or why there is none. used has the plugins; nil:
// whatever the catalog finds.
func colocated(c *catalog.Catalog, s *spec.Spec, used Plugins, roles []string) (p *process.Colocated, why string, err error) {
	if c == nil {
		c = catalog.New()
	}
	if used == nil {
		if used, err = NewCatalog(c).Plugins(s); err != nil {
			return nil, "", err
		}
	}
	program, names, err := colocatedProgram(c, s, used, roles)
	if err != nil {
		return nil, err.Error(), nil
	}
	return process.NewColocated(program, roles, names), "", nil
}

// colocatedProgram returns the program that holds the plugins of roles, and their full names. fault.Unavailable says why they
// cannot share a process.
func colocatedProgram(c *catalog.Catalog, s *spec.Spec, used Plugins, roles []string) (program catalog.Binary, names []string, err error) {
	// What is allowed to a plugin alone cannot be held against one process of several.
	if g := s.Plugins; g.Strict() || g.Memory != (spec.Memory{}) || g.Processes > 0 || g.Cores > 0 {
		return program, nil, fault.New(fault.Unavailable, "plugins.sandbox, memory, processes and cores limit each plugin alone")
	}
	var binaries []catalog.Binary
	for _, role := range roles {
		i := slices.IndexFunc(used, func(x Plugin) bool { return x.Role == role })
		names, binaries = append(names, used[i].Binary.Ref()), append(binaries, used[i].Binary)
	}
	program, err = c.Colocated(binaries...)
	return program, names, err
}

// ColocatedProgram returns the program that may serve the towers and losses of a spec in one process on a machine where they
// share a device. It is empty where train.colocate does not let it, or where there is none; with train.colocate: true that
// is an error.
func ColocatedProgram(c *catalog.Catalog, s *spec.Spec, used Plugins) (catalog.Binary, error) {
	if s.Train.Colocate != spec.On && s.Train.Colocate != spec.Auto {
		return catalog.Binary{}, nil
	}
	program, _, err := colocatedProgram(c, s, used, sharing(s))
	switch {
	case err == nil:
		return program, nil
	case s.Train.Colocate == spec.On:
		return catalog.Binary{}, cannotColocate(s, err.Error())
	}
	return catalog.Binary{}, nil
}

// sharing lists the roles that may share a process.
func sharing(s *spec.Spec) []string {
	return slices.Concat([]string{RoleImage, RoleText}, LossRoles(s))
}

func cannotColocate(s *spec.Spec, why string) error {
	return locate(s, "train.colocate", fault.New(fault.Unavailable, "towers and loss cannot share a process: %s", why).
		WithHint("train.colocate: auto or false gives each a process"))
}
