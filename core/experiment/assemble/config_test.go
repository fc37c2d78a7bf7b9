package assemble

import (
	"runtime"
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

func TestTowersTakeTurnsWhereEachCouldUseTheFewCores(t *testing.T) {
	all := map[string]int{RoleImage: runtime.NumCPU()}
	s := &spec.Spec{Image: spec.Tower{Device: "cpu"}, Text: spec.Tower{Device: "cpu"}}
	for value, want := range map[spec.Switch]bool{spec.On: true, spec.Off: false, spec.Auto: runtime.NumCPU() > few} {
		s.Train.ParallelTowers = value
		if got := ParallelTowers(s, all); got != want {
			t.Errorf("%s on %d cores: %t", value, runtime.NumCPU(), got)
		}
	}
	if s.Train.ParallelTowers = spec.Auto; !ParallelTowers(s, map[string]int{RoleImage: 0}) {
		t.Error("towers with fewer threads than there are cores take turns")
	}
	s.Text.Device = "cuda:0"
	if !ParallelTowers(s, all) {
		t.Error("a tower on a GPU waits for the other")
	}
}

func TestThreadsAreSharedOut(t *testing.T) {
	s := &spec.Spec{Threads: 6, Eval: []spec.Eval{{Name: "x"}}}
	got := Threads(s, 0)
	if got[RoleImage] != 6 || got[RoleText] != 6 || got[RoleData] != 3 || got[RoleEval+"x"] != 3 {
		t.Errorf("%v", got)
	}
	s.Data.Workers = 5
	if Threads(s, 0)[RoleData] != 5 {
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
	s := &spec.Spec{Image: spec.Tower{Device: "cuda:1"}, Losses: []spec.Loss{{Device: "cpu"}}, Train: spec.Train{Precision: "bf16", ActivationCheckpointing: true}}
	limits := map[string]int{RoleImage: 3, RoleLoss: 2}
	if got, want := computeFor(s, RoleImage, limits), (clip.Compute{Device: "cuda:1", Threads: 3, Precision: "bf16", Checkpointing: true}); got != want {
		t.Errorf("image tower: %+v, want %+v", got, want)
	}
	if got, want := computeFor(s, RoleLoss, limits), (clip.Compute{Device: "cpu", Threads: 2, Precision: "f32"}); got != want {
		t.Errorf("loss: %+v, want %+v", got, want)
	}
}

func TestFaultsOfPluginsArePlacedInTheSpec(t *testing.T) {
	s, err := spec.Parse("in.yaml", []byte(`image: {encoder: vit, with: {width: 7}}
text: {encoder: transformer}
loss: {plugin: clip}
data: {train: {dataset: emoji}}
train: {max_steps: 1}
`), spec.Options{})
	if err != nil {
		t.Fatal(err)
	}
	placed := Place(s, fault.New(fault.Invalid, "odd").WithPath("with.width"), RoleImage)
	if got := placed.Error(); got != "in.yaml:1:37: image.with.width: odd" {
		t.Errorf("got %q", got)
	}
	for path, want := range map[string]string{"with": "image.with", "freeze.blocks": "image.freeze.blocks", "within": "within", "": "", "train.lr": "train.lr"} {
		f := fault.New(fault.Invalid, "odd").WithPath(path)
		if Place(s, f, RoleImage); f.Path != want {
			t.Errorf("%q became %q, want %q", path, f.Path, want)
		}
	}
	s.Train.Groups = []spec.Group{{Tower: "image"}, {Tower: "text"}, {}}
	for path, want := range map[string]string{
		"optimizer.groups[0].params": "train.groups[1].params", "optimizer.groups[1].lr_scale": "train.groups[2].lr_scale",
		"optimizer.layer_decay": "train.layer_decay", "optimizer.ema_decay": "train.ema", "optimizer.lr": "train.lr",
	} {
		f := fault.New(fault.Invalid, "odd").WithPath(path).WithHint("so")
		if Place(s, f, RoleText); f.Path != want {
			t.Errorf("%q became %q, want %q", path, f.Path, want)
		}
		if both := f.Hint != "so"; both != (want == "train.groups[2].lr_scale") {
			t.Errorf("%q has the hint %q", path, f.Hint)
		}
	}
	if Place(s, nil, RoleImage) != nil {
		t.Error("no error became one")
	}
}

func TestDatasetsOfOneConfigurationAreTheSame(t *testing.T) {
	s := &spec.Spec{Seed: 1, Data: spec.Data{Train: []spec.TrainData{{Dataset: "emoji", With: []byte(`{"split":"train"}`)}}},
		Eval: []spec.Eval{{Name: "e", Dataset: "emoji", With: []byte(`{"split":"train"}`)}, {Name: "f", Dataset: "csv"}}}
	all := datasets(s, map[string]int{RoleData: 2, RoleEval + "e": 2, RoleEval + "f": 2})
	if len(all) != 3 || all[1].section != "eval[0]" || all[2].role != "eval.f" {
		t.Fatalf("%+v", all)
	}
	kept := all[0]
	kept.config.ImageSize = 32
	if !all[1].sameAs(kept, 32) {
		t.Error("the same data for another role is not the same")
	}
	if all[1].sameAs(kept, 64) || all[2].sameAs(kept, 32) {
		t.Error("another size or another dataset is the same")
	}
	other := all[1]
	other.config.Seed = 2
	if other.sameAs(kept, 32) {
		t.Error("another seed is the same")
	}
}

func TestNamesThatTextEncodersTakeForOne(t *testing.T) {
	if got := SameNames([]string{"cat", "dog", "Cat  ", "cat"}); got != `classes have the same name, and no picture is ever taken for the second of them: "Cat  " (0 and 2), "cat" (0 and 3)` {
		t.Errorf("got %s", got)
	}
	if got := SameNames([]string{"cat", "cats", ""}); got != "" {
		t.Errorf("got %s", got)
	}
	if got := FirstFew([]string{"a", "b", "c", "d", "e", "f", "g"}); got != "a, b, c, d, e and 2 more" {
		t.Errorf("got %s", got)
	}
	if got := FirstFew([]string{"a", "b"}); got != "a, b" {
		t.Errorf("got %s", got)
	}
}

func TestTheSummaryOfARun(t *testing.T) {
	s := Summary{Spec: &spec.Spec{Device: "auto"}, Image: clip.EncoderInfo{Parameters: 10, Frozen: 4, Remarks: []string{"a", "b"}},
		Text: clip.EncoderInfo{Parameters: 5, Remarks: []string{"b", "c"}}, Loss: clip.LossInfo{Parameters: 1}}
	if s.Parameters() != 16 || s.Trained() != 12 {
		t.Errorf("%d parameters, %d trained", s.Parameters(), s.Trained())
	}
	if s.Device() != "auto" {
		t.Errorf("an encoder that does not say: %s", s.Device())
	}
	s.Image.Backend = "host"
	if s.Device() != "host" {
		t.Errorf("an encoder that says: %s", s.Device())
	}
	if got := s.Remarks(); len(got) != 3 || got[2] != "c" {
		t.Errorf("remarks %q", got)
	}
	facts := s.facts()
	if facts["parameters.total"] != int64(16) || facts["parameters.image.trained"] != int64(6) || facts["backend.image"] != "host" {
		t.Errorf("facts %v", facts)
	}
}

// A group that would start when the run is over is refused where it stands: epochs are counted in steps only here.
func TestGroupsStartBeforeTheEnd(t *testing.T) {
	s := &spec.Spec{Train: spec.Train{Groups: []spec.Group{{Start: 9}, {Start: 10}}}}
	if err := checkStarts(s, 11); err != nil {
		t.Error(err)
	}
	err := checkStarts(s, 10)
	if f, ok := err.(*fault.Error); !ok || f.Kind != fault.Invalid || f.Path != "train.groups[1].start" {
		t.Errorf("a start at the end: %v", err)
	}
}
