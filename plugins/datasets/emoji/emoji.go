package main

import (
	"context"
	"fmt"
	"slices"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/media/vision"
	"tandem/core/plugin/sdk"
	"tandem/core/plugin/sdk/sample"
	"tandem/core/random"
	"tandem/plugins/datasets/emoji/catalog"
)

// Config has the keys of the with block.
type Config struct {
	Root         string   `with:"root" type:"path" help:"folder of the unpacked npm packages (runner data get emoji); empty: the 512 built-in emoji at 32 pixels"`
	Styles       []string `with:"styles" enum:"google,twitter,fluent" help:"vendors whose pictures are used; fluent with root only"`
	Split        string   `with:"split" enum:"train,test,all" help:"part of the pictures"`
	Holdout      string   `with:"holdout" enum:"emoji,style,both" help:"emoji: test emoji are never trained on; style: they are, but in the other styles only; both: neither they nor the style are, what mixes the two is in no split"`
	HoldoutStyle string   `with:"holdout_style" enum:"google,twitter,fluent" help:"with holdout: style or both, the style of the test pictures"`
	TestCount    int      `with:"test_count" min:"1" help:"number of test emoji"`
	TestFraction float64  `with:"test_fraction" min:"0" max:"0.9" help:"share of test emoji; above 0 it replaces test_count"`
	SplitSeed    uint64   `with:"split_seed" help:"chooses the test emoji, whatever the run's seed"`
	Captions     string   `with:"captions" enum:"label,tags,both" help:"what training captions are made of"`
	LabelShare   float64  `with:"label_share" min:"0" max:"1" help:"with captions: both, the share of captions that are labels"`
	MaxTags      int      `with:"max_tags" min:"1" help:"tags in a training caption, 1 to this many, drawn anew each epoch"`
	KindShare    float64  `with:"kind_share" min:"0" max:"1" help:"share of training captions that are the name of the emoji's group, subgroup, or both"`
	Templates    []string `with:"templates" help:"sentences for labels, {} being the label; drawn anew each epoch"`
	Negatives    int      `with:"negatives" min:"0" max:"64" help:"for losses that take negatives: captions of so many other emoji, of the same subgroup where there are enough, drawn anew each epoch"`
	Jitter       float64  `with:"jitter" min:"0" max:"1" help:"strength of random brightness, contrast and saturation in training"`
	SkinTones    bool     `with:"skin_tones" help:"with root, also the skin tone variants"`
	OnError      string   `with:"on_error" enum:"skip,fail" help:"replace unreadable pictures or stop"`
}

// Defaults holds the values of keys that are not given.
var Defaults = Config{
	Styles: []string{"google", "twitter"}, Split: "train", Holdout: "style", HoldoutStyle: "twitter",
	TestCount: 100, Captions: "both", LabelShare: .7, MaxTags: 4,
	Templates: []string{"{}", "an emoji of {}", "the {} emoji", "a picture of {}"}, OnError: "skip",
}

// Plugin describes the plugin.
var Plugin = sdk.Dataset{
	Name: "emoji", Version: "1.1.0", Summary: "emoji of several vendors with names and tags; 512 are built in",
	Capabilities: []string{clip.CapNegatives, clip.CapView2, clip.CapAugment, clip.CapCache},
	Config:       Defaults, Sizes: sizes(), New: func() clip.Dataset { return sample.New(open) },
}

// sizes returns the numbers of samples of the built-in emoji under the usual settings.
func sizes() []clip.Size {
	size := func(n int, split, holdout string) clip.Size {
		return clip.Size{N: n, When: map[string]any{"root": "", "styles": Defaults.Styles, "split": split,
			"holdout": holdout, "test_count": 100, "test_fraction": 0}}
	}
	return []clip.Size{
		size(924, "train", "style"), size(100, "test", "style"), size(1024, "all", "style"),
		size(824, "train", "emoji"), size(200, "test", "emoji"), size(1024, "all", "emoji"),
	}
}

// open implements sample.Open.
func open(ctx context.Context, c clip.DatasetConfig) (*sample.Set, error) {
	cfg := Defaults
	if err := sdk.Decode(c.With, &cfg); err != nil {
		return nil, err
	}
	if err := cfg.check(); err != nil {
		return nil, err
	}
	src, err := openSource(cfg)
	if err != nil {
		return nil, err
	}
	pictures, err := cfg.split(src.emoji)
	if err != nil {
		return nil, err
	}
	set := &sample.Set{Fail: cfg.OnError == "fail", Direct: cfg.Root == "", Note: src.note}
	all := len(pictures)
	if pictures = slices.DeleteFunc(pictures, func(p picture) bool { return !src.has(p) }); len(pictures) < all {
		set.Note += fmt.Sprintf("; %d pictures left out that the style %s lacks", all-len(pictures), catalog.Fluent)
	}
	cfg.describe(set, src.emoji, pictures)
	if err := cfg.pickNegatives(set, src.emoji, pictures); err != nil {
		return nil, err
	}
	if src.path == nil {
		set.Pixels = src.sum
		set.Open = func(i int) (vision.Picture, error) { return src.open(pictures[i]), nil }
	} else {
		paths := make([]string, len(pictures))
		for i, p := range pictures {
			paths[i] = src.path(p)
		}
		if err := set.FromFiles(ctx, c, paths, vision.Options{}); err != nil {
			return nil, err
		}
	}
	if cfg.Jitter > 0 {
		set.Alter = func(pix []byte, _ int, s *random.Stream) { vision.Jitter(pix, s, cfg.Jitter) }
	}
	return set, nil
}

// check reports faults that the schema cannot find.
func (c Config) check() error {
	bad := func(key, format string, args ...any) *fault.Error {
		return fault.New(fault.Invalid, format, args...).WithPath("with." + key)
	}
	if err := sample.CheckTemplates(c.Templates); err != nil {
		return err
	}
	if len(c.Styles) == 0 {
		return bad("styles", "no style")
	}
	for i, s := range c.Styles {
		if slices.Contains(c.Styles[:i], s) {
			return bad("styles", "%s is given twice", s)
		}
	}
	if c.Root == "" && slices.Contains(c.Styles, catalog.Fluent) {
		return bad("styles", "the style %s is not built in", catalog.Fluent).WithHint("runner data get emoji, then root: the folder that it names")
	}
	if c.Split != "all" && c.Holdout != "emoji" {
		if !slices.Contains(c.Styles, c.HoldoutStyle) {
			return bad("holdout_style", "%s is not among the styles %v", c.HoldoutStyle, c.Styles)
		}
		if len(c.Styles) < 2 {
			return bad("styles", "holdout: %s needs another style than %s to train on", c.Holdout, c.HoldoutStyle).
				WithHint("add a style, or set holdout: emoji")
		}
	}
	if c.SkinTones && c.Root == "" {
		return bad("skin_tones", "the built-in emoji have none").WithHint("set root to the full packages")
	}
	return nil
}

func tooFew(asked, have int) error {
	return fault.New(fault.Invalid, "%d of %d emoji are to be test emoji", asked, have).WithPath("with.test_count").
		WithHint("%s", fmt.Sprintf("at most %d", have-1))
}
