package fault

import "testing"

func TestNearFindsTheLikeliestName(t *testing.T) {
	fields := []string{"temperature", "learnable", "label_smoothing"}
	for name, want := range map[string]string{
		"temprature": "temperature", "lernable": "learnable", "Temperature": "temperature",
		"width": "", "t": "", "label_smoothign": "label_smoothing",
	} {
		if got := Near(name, fields); got != want {
			t.Errorf("Near(%q) = %q, want %q", name, got, want)
		}
	}
}
