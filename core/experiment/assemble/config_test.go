package assemble

import (
	"testing"

	"tandem/core/clip"
	"tandem/core/experiment/spec"
	"tandem/core/fault"
)

func TestStepsEndAtWhateverIsReachedFirst(t *testing.T) {
	for _, c := range []struct {
		epochs float64
		max    int
		want   int
	}{{2, 0, 14}, {0, 5, 5}, {2, 5, 5}, {2, 50, 14}, {0.5, 0, 4}, {0.01, 0, 1}} {
		if got := totalSteps(spec.Train{Epochs: c.epochs, MaxSteps: c.max}, 7); got != c.want {
			t.Errorf("%g epochs of 7 steps, at most %d: %d steps, want %d", c.epochs, c.max, got, c.want)
		}
	}
}

func TestThreadsAreSharedOut(t *testing.T) {
	s := &spec.Spec{Threads: 6, Eval: []spec.Eval{{Name: "x"}}}
	got := Threads(s)
	if got[RoleImage] != 6 || got[RoleText] != 6 || got[RoleData] != 3 || got[RoleEval+"x"] != 3 {
		t.Errorf("%v", got)
	}
	s.Data.Workers = 5
	if Threads(s)[RoleData] != 5 {
		t.Error("data.workers does not count")
	}
}

func TestAnEncoderThatIsNotAsAskedIsRefused(t *testing.T) {
	good := clip.EncoderInfo{Modality: clip.Image, EmbedDim: 8, ImageSize: 32}
	if err := checkTower(RoleImage, good, clip.Image, 8); err != nil {
		t.Error(err)
	}
	if err := checkTower(RoleImage, good, clip.Image, 16); fault.KindOf(err) != fault.Invalid {
		t.Errorf("other width: %v", err)
	}
	if err := checkTower(RoleText, good, clip.Text, 8); fault.KindOf(err) != fault.Invalid {
		t.Errorf("other modality: %v", err)
	}
}

// The precision is the towers': losses stay in float32. So is checkpointing. Each part has its device.
func TestPrecisionIsTheTowers(t *testing.T) {
	s := &spec.Spec{Image: spec.Tower{Device: "cuda:1"}, Loss: spec.Loss{Device: "cpu"}, Train: spec.Train{Precision: "bf16", ActivationCheckpointing: true}}
	limits := map[string]int{RoleImage: 3, RoleLoss: 2}
	if got, want := computeFor(s, RoleImage, limits), (clip.Compute{Device: "cuda:1", Threads: 3, Precision: "bf16", Checkpointing: true}); got != want {
		t.Errorf("image tower: %+v, want %+v", got, want)
	}
	if got, want := computeFor(s, RoleLoss, limits), (clip.Compute{Device: "cpu", Threads: 2, Precision: "f32"}); got != want {
		t.Errorf("loss: %+v, want %+v", got, want)
	}
}
