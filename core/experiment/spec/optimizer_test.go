package spec

import (
	"reflect"
	"slices"
	"testing"

	"tandem/core/clip"
)

// Each tower gets what is meant for it, the loss and towers that are frozen whole get one rate.
func TestTowersHaveOptimisersOfTheirOwn(t *testing.T) {
	two, none := 2., 0.
	s := loadGood(t, "train.ema=0.99", "train.layer_decay.image=0.5",
		"train.groups=[{params: [a], tower: text, weight_decay: 0}, {params: [b, c], lr_scale: 2}]")
	plain := s.Train.ClipOptimizer()
	image, text := plain, plain
	image.LayerDecay, image.EMADecay, text.EMADecay = .5, .99, .99
	image.Groups = []clip.ParamGroup{{Params: []string{"b", "c"}, LRScale: &two}}
	text.Groups = []clip.ParamGroup{{Params: []string{"a"}, WeightDecay: &none}, image.Groups[0]}
	if got := s.TowerOptimizer("image"); !reflect.DeepEqual(got, image) {
		t.Errorf("image: %+v, want %+v", got, image)
	}
	if got := s.TowerOptimizer("text"); !reflect.DeepEqual(got, text) {
		t.Errorf("text: %+v, want %+v", got, text)
	}
	if at, both := s.GroupPath("image", 0); at != "train.groups[1]" || !both {
		t.Errorf("the image tower's first group is %s (for both: %v)", at, both)
	}
	if at, both := s.GroupPath("text", 0); at != "train.groups[0]" || both {
		t.Errorf("the text tower's first group is %s (for both: %v)", at, both)
	}
	s = loadGood(t, "train.ema=0.99", "train.layer_decay=0.5", "image.freeze=all")
	if got := s.TowerOptimizer("image"); !reflect.DeepEqual(got, plain) || s.Averages("image") || !s.Averages("text") {
		t.Errorf("frozen: %+v", got)
	}
	if got := s.TowerOptimizer("text"); got.LayerDecay != .5 {
		t.Errorf("layer decay of both towers: %+v", got)
	}
}

// Figures by averaged weights come after those by the live ones, which decide.
func TestAveragesAreEvaluated(t *testing.T) {
	s, plain := loadGood(t, "train.ema=0.99"), loadGood(t)
	names, live := s.EvalMetrics(), plain.EvalMetrics()
	if len(live) == 0 || len(names) != 2*len(live) || !slices.Equal(names[:len(live)], live) || s.DecidingMetric() != plain.DecidingMetric() {
		t.Errorf("%v, without averages %v", names, live)
	}
	if name := "eval/emoji@ema/top1"; !s.Gives(name) || plain.Gives(name) {
		t.Errorf("%s is not given, or without averages", name)
	}
}
