package main

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/media/vision"
	"tandem/core/plugin/sdk"
	"tandem/core/plugin/sdk/sample"
)

// Config has the keys of the with block.
type Config struct {
	Samples       int      `with:"samples" min:"1" max:"100000000" help:"scenes of both splits together"`
	Split         string   `with:"split" enum:"all,train,test" help:"part of the scenes"`
	Holdout       string   `with:"holdout" enum:"scenes,combinations" help:"what is in the test split only: some scenes, or all scenes with certain combinations of colour and shape, each of which training knows from others"`
	TestFraction  float64  `with:"test_fraction" min:"0" max:"1" help:"share of the scenes, or of the combinations, that are held out; above 0 and below 1"`
	SceneSeed     uint64   `with:"scene_seed" help:"draws scenes and split, whatever the run's seed"`
	Shapes        []string `with:"shapes" enum:"circle,square,triangle,cross,diamond,ring,bar,star" help:"the shapes there are; at least 2"`
	Colours       []string `with:"colours" enum:"red,green,blue,yellow,purple,orange,black,white,pink,brown,grey,cyan" help:"the colours there are; at least 2"`
	Sizes         []string `with:"sizes" enum:"small,large" help:"the sizes there are; captions name them when there are two"`
	MaxCount      int      `with:"max_count" min:"1" max:"4" help:"most things of one kind"`
	Groups        []int    `with:"groups" min:"1" max:"2" help:"how many kinds of things a scene has: [1], [2], or one of both"`
	Relations     []string `with:"relations" enum:"left of,right of,above,below" help:"where the first kind is in scenes of two"`
	Negatives     int      `with:"negatives" min:"0" max:"64" help:"hard negatives of a scene: captions with something exchanged; 0: none"`
	NegativeRules []string `with:"negative_rules" enum:"colour,shape,count,size,relation" help:"what negatives exchange: between the two kinds, or for another value"`
	Background    [3]int   `with:"background" min:"0" max:"255" help:"RGB behind the things"`
	Noise         float64  `with:"noise" min:"0" max:"1" help:"standard deviation of the noise on every pixel, as a share of 255"`
}

// Defaults holds the values of keys that are not given.
var Defaults = Config{Samples: 10_000, Split: "all", Holdout: "scenes", TestFraction: .2,
	Shapes: []string{"circle", "square", "triangle", "cross"}, Colours: []string{"red", "green", "blue", "yellow", "purple", "orange"},
	Sizes: []string{"small", "large"}, MaxCount: 3, Groups: []int{1, 2}, Relations: []string{"left of", "right of", "above", "below"},
	NegativeRules: []string{"colour", "shape", "count", "size", "relation"}, Background: [3]int{236, 236, 236}}

// Plugin describes the plugin.
var Plugin = sdk.Dataset{
	Name: "synthetic", Version: "1.0.0", Summary: "scenes of coloured shapes with compositional captions, drawn when they are asked for",
	Capabilities: []string{clip.CapView2, clip.CapNegatives, clip.CapAugment, clip.CapCache},
	Config:       Defaults, New: func() clip.Dataset { return sample.New(open) },
}

// check finds what the schema cannot say.
func (c Config) check() error {
	invalid := func(key, format string, args ...any) error {
		return fault.New(fault.Invalid, format, args...).WithPath("with." + key)
	}
	for _, l := range []struct {
		key  string
		list []string
		min  int
	}{{"shapes", c.Shapes, 2}, {"colours", c.Colours, 2}, {"sizes", c.Sizes, 1}, {"relations", c.Relations, 1}, {"negative_rules", c.NegativeRules, 1}} {
		if len(l.list) < l.min {
			return invalid(l.key, "%d of them, at least %d are needed", len(l.list), l.min)
		}
		if sorted := slices.Sorted(slices.Values(l.list)); len(slices.Compact(sorted)) < len(l.list) {
			return invalid(l.key, "%q has one twice", l.list)
		}
	}
	if len(c.Groups) == 0 {
		return invalid("groups", "none").(*fault.Error).WithHint("groups: [1, 2]")
	}
	if c.Split != "all" && (c.TestFraction <= 0 || c.TestFraction >= 1) {
		return invalid("test_fraction", "%v with split: %s", c.TestFraction, c.Split).(*fault.Error).WithHint("give a fraction between 0 and 1, or split: all")
	}
	return nil
}

func open(ctx context.Context, c clip.DatasetConfig) (*sample.Set, error) {
	cfg := Defaults
	if err := sdk.Decode(c.With, &cfg); err != nil {
		return nil, err
	}
	if err := cfg.check(); err != nil {
		return nil, err
	}
	w := newWorld(cfg)
	kept, err := w.members(ctx)
	if err != nil {
		return nil, err
	}
	if len(kept) == 0 {
		return nil, fault.New(fault.NotFound, "no scene of %d is in the split %s", cfg.Samples, cfg.Split).WithPath("with.samples").
			WithHint("more samples, or another test_fraction")
	}
	list := &scenes{world: w, kept: kept}
	list.makeTargets()
	settings, err := json.Marshal(cfg)
	if err != nil {
		return nil, fault.New(fault.Internal, "%w", err)
	}
	sum := sha256.Sum256(append([]byte("synthetic/1 "), settings...))
	note := fmt.Sprintf("%d scenes of %d shapes in %d colours", len(kept), len(cfg.Shapes), len(cfg.Colours))
	if cfg.Holdout == "combinations" {
		note += fmt.Sprintf(", %d combinations held out", len(w.held))
	}
	return &sample.Set{List: list, Targets: list.targets, Digest: hex.EncodeToString(sum[:]), Note: note, Direct: true, Drawn: true, Negatives: cfg.Negatives,
		Open: func(i int) (vision.Picture, error) { return w.draw(w.scene(int(kept[i])), c.ImageSize), nil }}, nil
}

// scenes is the list of a split's samples, made when they are asked for.
type scenes struct {
	*world
	kept    []int32 // numbers of the scenes
	targets []clip.Target
	whole   map[string]int32 // class of target caption, by caption; nil when there is no such target
}

// maxCaptions limits the classes of the target caption, which are captions that say different things.
const maxCaptions = 2000

// makeTargets lists the classes. What a scene shows is a class too, in sets with few of them.
func (l *scenes) makeTargets() {
	var objects, counts []string
	for _, colour := range l.Colours {
		for _, shape := range l.Shapes {
			objects = append(objects, colour+" "+shape)
		}
	}
	for n := range l.MaxCount {
		counts = append(counts, numbers[n])
	}
	l.targets = []clip.Target{{Name: "shape", Classes: l.Shapes}, {Name: "colour", Classes: l.Colours}, {Name: "object", Classes: objects},
		{Name: "count", Classes: counts}, {Name: "size", Classes: l.Sizes}, {Name: "relation", Classes: l.Relations}}
	l.whole = map[string]int32{}
	var captions []string
	for _, n := range l.kept {
		text := l.canonical(l.scene(int(n)))
		if _, ok := l.whole[text]; !ok {
			l.whole[text] = 0
			captions = append(captions, text)
		}
		if len(captions) > maxCaptions {
			l.whole = nil
			return
		}
	}
	slices.Sort(captions)
	for i, text := range captions {
		l.whole[text] = int32(i)
	}
	l.targets = append(l.targets, clip.Target{Name: "caption", Classes: captions})
}

// Len implements sample.List.
func (l *scenes) Len() int { return len(l.kept) }

// At implements sample.List. Labels of what a single kind of things is are for scenes of one kind, the relation for those of
// two.
func (l *scenes) At(i int) sample.Sample {
	number := int(l.kept[i])
	s := l.scene(number)
	captions := l.captions(s)
	x := sample.Sample{Key: fmt.Sprintf("%08d", number), Group: groupOf(l.canonical(s)), Captions: captions, Labels: []int32{-1, -1, -1, -1, -1, -1}}
	if k := s.kinds[0]; s.two {
		x.Labels[5] = int32(s.relation)
	} else {
		x.Labels = []int32{int32(k.shape), int32(k.colour), int32(k.colour*len(l.Shapes) + k.shape), int32(k.count - 1), int32(k.size), -1}
	}
	if l.whole != nil {
		x.Labels = append(x.Labels, l.whole[l.canonical(s)])
	}
	if l.Negatives > 0 {
		x.Negatives = l.negatives(s)
	}
	return x
}

// groupOf gives scenes that show the same one number: their pictures are positives of one another.
func groupOf(caption string) int64 {
	sum := sha256.Sum256([]byte(caption))
	return int64(binary.LittleEndian.Uint64(sum[:]) >> 1)
}
