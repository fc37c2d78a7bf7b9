package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"strings"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/files"
	"tandem/core/media/vision"
	"tandem/core/plugin/sdk"
	"tandem/core/plugin/sdk/sample"
	"tandem/core/random"
)

// Config has the keys of the with block.
type Config struct {
	Root      string   `with:"root" type:"path" required:"true" help:"folder that runner data get ifct fills"`
	Languages []string `with:"languages" help:"languages of the captions: en, scientific, or as bn gu hi kn ks kha kok ml mni mr ne or pa sa ta te ur in Latin letters"`
	SameImage string   `with:"same_image" enum:"merge,separate" help:"foods with the same photograph: one sample with all names, or one each as positives of one another"`
	Templates []string `with:"templates" help:"sentences for names, {} being the name; drawn anew each epoch"`
	sample.Options
	sample.Frame
}

// Defaults holds the values of keys that are not given.
var Defaults = Config{Languages: []string{"en"}, SameImage: "merge", Templates: []string{"{}", "a photo of {}"}, Options: sample.DefaultOptions}

// Plugin describes the plugin.
var Plugin = sdk.Dataset{
	Name: "ifct", Version: "1.0.0", Summary: "photographs of the foods of the Indian Food Composition Tables with names in many languages",
	Capabilities: []string{clip.CapView2, clip.CapAugment, clip.CapCache},
	Config:       Defaults, New: func() clip.Dataset { return sample.New(open) },
}

// hint tells where the files come from.
const hint = "fetch them with: runner data get ifct; it prints the root to give"

// shown holds a photograph and the foods that it shows.
type shown struct {
	path  string
	foods []food
	group int64 // of equal photographs
}

func open(ctx context.Context, c clip.DatasetConfig) (*sample.Set, error) {
	cfg := Defaults
	if err := sdk.Decode(c.With, &cfg); err != nil {
		return nil, err
	}
	for _, err := range []error{cfg.Check(), cfg.CheckFrame(c.ImageSize), sample.CheckTemplates(cfg.Templates)} {
		if err != nil {
			return nil, err
		}
	}
	for _, code := range cfg.Languages {
		if err := unknownLanguage(code); err != nil {
			return nil, err
		}
	}
	foods, err := readFoods(cfg.Root)
	if err != nil {
		return nil, err
	}
	set := &sample.Set{Fail: cfg.Fail()}
	photographs, err := cfg.photographs(set, foods)
	if err != nil {
		return nil, err
	}
	paths := cfg.describe(set, foods, photographs)
	if err := set.FromFiles(ctx, c, paths, cfg.Vision()); err != nil {
		return nil, err
	}
	set.Framed(cfg.Frame, cfg.Background)
	return set, nil
}

// photographs finds the photographs of foods, and those that are the same file.
func (c Config) photographs(set *sample.Set, foods []food) ([]shown, error) {
	var out []shown
	first := map[[32]byte]int{}
	for _, f := range foods {
		path := filepath.Join(c.Root, "pictures", "assets", f.code+".jpeg")
		data, err := files.Read(path, vision.MaxFileBytes)
		if err != nil {
			if c.Fail() || fault.KindOf(err) != fault.NotFound {
				return nil, err
			}
			set.Skip("missing picture", fmt.Sprintf("%s: %v", f.code, err))
			continue
		}
		sum := sha256.Sum256(data)
		at, same := first[sum]
		switch {
		case same && c.SameImage == "merge":
			out[at].foods = append(out[at].foods, f)
			continue
		case !same:
			first[sum] = len(out)
			at = len(out)
		}
		out = append(out, shown{path: path, foods: []food{f}, group: int64(at)})
	}
	if len(out) == 0 {
		return nil, fault.New(fault.NotFound, "no photographs in %s", filepath.Join(c.Root, "pictures", "assets")).WithPath("with.root").WithHint(hint)
	}
	return out, nil
}

// describe fills in the samples of the split, targets and captions, and returns the paths of their photographs. A
// photograph of foods of several groups has no group.
func (c Config) describe(set *sample.Set, foods []food, photographs []shown) (paths []string) {
	var groups, kinds sample.Classes
	for _, f := range foods {
		groups.Add(strings.ToLower(f.group))
		kinds.Add(f.kind())
	}
	var texts sample.Distinct
	without, elsewhere := 0, 0
	for _, p := range photographs {
		x := sample.Sample{Key: p.foods[0].code, Group: p.group, Labels: []int32{-1, -1}}
		if !c.Has(p.foods[0].kind()) {
			elsewhere++
			continue
		}
		var all sample.Distinct
		oneGroup, oneKind := true, true
		for _, f := range p.foods {
			for _, name := range f.captions(c.Languages) {
				all.Add(name)
			}
			oneGroup = oneGroup && f.group == p.foods[0].group
			oneKind = oneKind && f.kind() == p.foods[0].kind()
		}
		if x.Captions = all.List; len(x.Captions) == 0 {
			without++
			continue
		}
		if oneGroup {
			x.Labels[0] = groups.ID(strings.ToLower(p.foods[0].group))
		}
		if oneKind {
			x.Labels[1] = kinds.ID(p.foods[0].kind())
		}
		set.Samples = append(set.Samples, x)
		paths = append(paths, p.path)
		for _, name := range all.List {
			for _, t := range sample.FillAll(c.Templates, name) {
				texts.Add(t)
			}
		}
	}
	set.Note = fmt.Sprintf("%d photographs of %d foods of IFCT 2017 (pictures AGPL-3) from %s", len(set.Samples), len(foods), c.Root)
	if elsewhere > 0 {
		set.Note += fmt.Sprintf(", %d of the other split", elsewhere)
	}
	if without > 0 {
		set.Note += fmt.Sprintf(", %d without a name in the languages", without)
	}
	set.Targets = []clip.Target{groups.Target("group"), kinds.Target("kind")}
	set.Texts = texts.List
	set.Caption = func(i int, s *random.Stream) string {
		return sample.Fill(sample.Choose(s, c.Templates), sample.Choose(s, set.Samples[i].Captions))
	}
	return paths
}
