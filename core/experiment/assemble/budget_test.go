package assemble

import (
	"maps"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/engine/device/devices"
	"tandem/core/experiment/spec"
	"tandem/core/fault"
)

// TestDevicesAreChecked checks a spec that this machine cannot compute: the fault is at the key.
func TestDevicesAreChecked(t *testing.T) {
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
	err = CheckDevices(s)
	if fault.KindOf(err) != fault.Invalid || !strings.HasPrefix(err.Error(), "in.yaml:5:34: train.precision: ") {
		t.Errorf("got %v, want an invalid fault at train.precision", err)
	}
}

// plannedGiB makes the plan of a plugin that needs at least, and at most, so many GiB of a GPU with so many free of 100.
func plannedGiB(least, most, free int64) clip.Plan {
	return clip.Plan{Device: "cuda:0", Free: free << 30, Total: 100 << 30, Least: least << 30,
		Parts: []clip.MemoryPart{{Name: "parameters", Bytes: 1 << 30}, {Name: "activations", Bytes: (most - 1) << 30}}}
}

func TestAGPUIsSharedByNeed(t *testing.T) {
	const gib = int64(1) << 30
	elsewhere := plannedGiB(5, 5, 40)
	elsewhere.Device = "cuda:1"
	for name, c := range map[string]struct {
		memory   spec.Memory
		needs    map[string]clip.Plan
		want     map[string]int64
		together bool
	}{
		"room for all": {spec.Memory{Bytes: 90 * gib}, map[string]clip.Plan{RoleImage: plannedGiB(20, 20, 90), RoleText: plannedGiB(5, 10, 95)},
			map[string]int64{RoleImage: 20*gib + scratchBytes + 2*(60*gib-2*scratchBytes)/3, RoleText: 10*gib + scratchBytes + (60*gib-2*scratchBytes)/3}, false},
		"not for captions at their longest": {spec.Memory{Share: .3}, map[string]clip.Plan{RoleImage: plannedGiB(20, 20, 60), RoleText: plannedGiB(5, 20, 60)},
			map[string]int64{RoleImage: 20*gib + scratchBytes, RoleText: 10*gib - scratchBytes}, false},
		"a share of what others left": {spec.Memory{Share: .5}, map[string]clip.Plan{RoleImage: plannedGiB(20, 20, 40)}, map[string]int64{RoleImage: 40 * gib}, false},
		"a GPU each": {spec.Memory{Bytes: 30 * gib}, map[string]clip.Plan{RoleImage: plannedGiB(20, 20, 90), RoleText: elsewhere},
			map[string]int64{RoleImage: 30 * gib, RoleText: 30 * gib}, false},
		"what is free, less that of the driver": {spec.Memory{}, map[string]clip.Plan{RoleImage: plannedGiB(20, 20, 90)},
			map[string]int64{RoleImage: 90*gib - driverBytes}, false},
		"in one process, with one driver's libraries": {spec.Memory{}, map[string]clip.Plan{RoleImage: plannedGiB(20, 20, 90), RoleText: plannedGiB(20, 20, 90)},
			map[string]int64{RoleImage: 45*gib - driverBytes/2, RoleText: 45*gib - driverBytes/2}, true},
	} {
		got, err := splitMemory(&spec.Spec{DeviceMemory: c.memory}, c.needs, c.together)
		if err != nil || !maps.Equal(got, c.want) {
			t.Errorf("%s: %v (%v), want %v", name, got, err, c.want)
		}
	}
}

func TestWhatCannotFitIsToldWithThePlan(t *testing.T) {
	s, err := spec.Parse("in.yaml", []byte(`image: {encoder: vit, device: cuda}
text: {encoder: transformer, device: cuda}
loss: {plugin: clip}
data: {train: {dataset: emoji}}
train: {max_steps: 1, batch_size: 64}
device_memory: 20 GiB
`), spec.Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = splitMemory(s, map[string]clip.Plan{RoleImage: plannedGiB(15, 15, 90), RoleText: plannedGiB(6, 10, 90)}, false)
	text := fault.Format(err)
	if fault.KindOf(err) != fault.Exhausted {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{"in.yaml:6:16: device_memory: ", "at least 21.0 GiB of the memory of cuda:0", "90.0 GiB of 100.0 GiB are free", "of which 20.0 GiB may be taken",
		"image, at least 15.0 GiB of", "text, at least 6.0 GiB", "activations", "train.micro_batch_size: 32", "image.device"} {
		if !strings.Contains(text, want) {
			t.Errorf("the fault does not say %q:\n%s", want, text)
		}
	}
}
