package run

import (
	"errors"
	"fmt"

	"tandem/core/engine/device/devices"
	"tandem/core/experiment/spec"
	"tandem/core/fault"
)

// computing are the parts of a spec that compute on a device.
var computing = []string{roleImage, roleText, roleLoss}

// deviceOf is where a part computes, as the spec says.
func deviceOf(s *spec.Spec, role string) string {
	switch role {
	case roleImage:
		return s.Image.Device
	case roleText:
		return s.Text.Device
	}
	return s.Loss.Device
}

// checkDevices finds devices and precisions that this machine does not have, before anything is started
// or recorded.
func checkDevices(s *spec.Spec) error {
	for _, role := range computing {
		name, precision := deviceOf(s, role), computeFor(s, role, nil).Precision
		err := devices.Check(name, precision)
		if err == nil {
			continue
		}
		key := s.DeviceKey(role)
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

// tellDevices says why auto is no GPU, where that is not a matter of course.
func tellDevices(s *spec.Spec, w Watcher) {
	for _, role := range computing {
		if resolved, why := devices.Resolve(deviceOf(s, role)); why != "" {
			w.Event("info", fmt.Sprintf("device auto is %s: %s", resolved, why))
			return
		}
	}
}
