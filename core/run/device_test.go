package run

import (
	"strings"
	"testing"

	"tandem/core/device/devices"
	"tandem/core/fault"
	"tandem/core/spec"
)

// TestDevicesAreCheckedBeforeAnythingIsRecorded runs specs that this machine cannot compute: the fault is at the
// key, and there is no run.
func TestDevicesAreCheckedBeforeAnythingIsRecorded(t *testing.T) {
	if device, _ := devices.Resolve("auto"); device != "cpu" {
		t.Skipf("auto is %s here", device)
	}
	const text = `image: {encoder: vit}
text: {encoder: transformer}
loss: {plugin: clip}
data: {train: {dataset: emoji}}
train: {max_steps: 1, precision: tf32}
`
	s, err := spec.Parse("in.yaml", []byte(text), spec.Options{})
	if err != nil {
		t.Fatal(err)
	}
	lab := Lab{DB: t.TempDir() + "/lab.db"}
	_, err = lab.Run(t.Context(), s, nil, Quiet{})
	if fault.KindOf(err) != fault.Invalid || !strings.HasPrefix(err.Error(), "in.yaml:5:34: train.precision: ") {
		t.Errorf("got %v, want an invalid fault at train.precision", err)
	}
	if runs, err := lab.resumable(t.Context(), "any"); runs != "" || err != nil {
		t.Errorf("runs %q, %v", runs, err)
	}
}
