package fault

import "testing"

func TestNearestFindsTheLikeliestName(t *testing.T) {
	fields := []string{"temperature", "learnable", "label_smoothing"}
	for name, want := range map[string]string{
		"temprature": "temperature", "lernable": "learnable", "Temperature": "temperature",
		"width": "", "t": "", "label_smoothign": "label_smoothing",
	} {
		if got := Nearest(name, fields); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", name, got, want)
		}
	}
}
