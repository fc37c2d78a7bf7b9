package assemble

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"tandem/core/engine/device/devices"
	"tandem/core/experiment/spec"
	"tandem/core/fault"
)

// Computing lists the roles of the plugins of a spec that compute on a device.
func Computing(s *spec.Spec) []string {
	return slices.Concat([]string{RoleImage, RoleText}, LossRoles(s), teachers(s))
}

// deviceOf returns where the plugin of a role computes, as the spec says.
func deviceOf(s *spec.Spec, role string) string {
	if IsLoss(role) {
		return lossOf(s, role).Device
	}
	return towerOf(s, role).Device
}

// GPU returns the device of a role when it is hardware with memory of its own, as cuda:0; "" otherwise.
func GPU(s *spec.Spec, role string) string {
	resolved, _ := devices.Resolve(deviceOf(s, role))
	if !strings.HasPrefix(resolved, "cuda") {
		return ""
	}
	return resolved
}

// CheckDevices finds devices and precisions that this machine does not have, before anything is started or
// recorded. The fault has the place of the key in the spec.
func CheckDevices(s *spec.Spec) error {
	for _, role := range Computing(s) {
		name, precision := deviceOf(s, role), computeFor(s, role, nil).Precision
		err := devices.Check(name, precision)
		if err == nil {
			continue
		}
		key := s.DeviceKey(section(s, role))
		if devices.Check(name, "") == nil {
			key = "train.precision"
		}
		return locate(s, key, err)
	}
	return nil
}

// locate gives a fault the place of a key in the spec.
func locate(s *spec.Spec, key string, err error) error {
	var f *fault.Error
	if !errors.As(err, &f) {
		return err
	}
	f.Path = key
	if o := s.Locate(key); o.Line > 0 {
		f.WithFile(o.Source, o.Line, o.Column)
	}
	return f
}

// explainDevices tells why device auto is no GPU, where that is not a matter of course.
func explainDevices(s *spec.Spec, w Watcher) {
	for _, role := range Computing(s) {
		if resolved, why := devices.Resolve(deviceOf(s, role)); why != "" {
			w.Event("info", fmt.Sprintf("device auto is %s: %s", resolved, why))
			return
		}
	}
}
