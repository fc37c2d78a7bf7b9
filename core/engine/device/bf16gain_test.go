package device_test

import (
	"testing"

	"tandem/core/engine/device"
	"tandem/core/engine/device/reference"
)

// The reference rounds operands before it multiplies: it gains nothing, whatever the clock says exactly.
func TestBF16GainIsMeasured(t *testing.T) {
	gain, err := device.BF16Gain(reference.New[float32](1))
	if err != nil || gain <= 0 || gain > 100 {
		t.Errorf("the gain is %g, %v", gain, err)
	}
}
