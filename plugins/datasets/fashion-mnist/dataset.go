package main

import (
	"context"
	"errors"
	"fmt"

	"tandem/core/clip"
	"tandem/core/data/idx"
	"tandem/core/fault"
	"tandem/core/media/vision"
	"tandem/core/plugin/sdk"
	"tandem/core/plugin/sdk/sample"
)

// defaultRoot names the folder where Debian's package dataset-fashion-mnist puts the files.
const defaultRoot = "/usr/share/datasets/fashion-mnist"

// Config has the keys of the with block.
type Config struct {
	Root      string   `with:"root" type:"path" help:"folder of the idx files, gzipped or not; empty: /usr/share/datasets/fashion-mnist"`
	Split     string   `with:"split" enum:"train,test" help:"the 60000 training or the 10000 test pictures"`
	Classes   []string `with:"classes" help:"names by label, for other sets in this format"`
	Templates []string `with:"templates" help:"captions, {} being the class name; drawn anew each epoch"`
	Limit     int      `with:"limit" min:"0" help:"only the first so many samples; 0 for all"`
}

// Defaults holds the values of keys that are not given. The class names are those of Xiao, Rasul and Vollgraf
// 2017 (arXiv 1708.07747), without the alternatives after a slash.
var Defaults = Config{
	Split:   "train",
	Classes: []string{"t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"},
	Templates: []string{"a photo of a {}", "a {}", "a grey picture of a {}", "a small photo of a {}", "a photo of one {}",
		"a product photo of a {}"},
}

// Plugin describes the plugin.
var Plugin = sdk.Dataset{
	Name: "fashion-mnist", Version: "1.0.0", Summary: "Fashion-MNIST, or any set of idx files, captioned by class name",
	Capabilities: []string{clip.CapView2, clip.CapAugment, clip.CapCache},
	Config:       Defaults,
	Sizes: []clip.Size{
		{N: 60000, When: map[string]any{"root": "", "split": "train", "limit": 0}},
		{N: 10000, When: map[string]any{"root": "", "split": "test", "limit": 0}},
	},
	New: func() clip.Dataset { return sample.New(open) },
}

func open(ctx context.Context, c clip.DatasetConfig) (*sample.Set, error) {
	cfg := Defaults
	if err := sdk.Decode(c.With, &cfg); err != nil {
		return nil, err
	}
	if err := sample.CheckTemplates(cfg.Templates); err != nil {
		return nil, err
	}
	root := cfg.Root
	if root == "" {
		root = defaultRoot
	}
	pictures, err := idx.Open(cfg.Split, root)
	if err != nil {
		return nil, cfg.withRemedy(err)
	}
	if cfg.Limit > 0 {
		pictures.First(cfg.Limit)
	}
	if err := pictures.Check(len(cfg.Classes)); err != nil {
		return nil, err
	}
	return &sample.Set{
		Samples: sample.ByClass(cfg.Split, pictures.Labels, cfg.Classes, cfg.Templates),
		Targets: []clip.Target{{Name: "label", Classes: cfg.Classes}},
		Direct:  true,
		Pixels:  pictures.Digest,
		Note:    fmt.Sprintf("%d pictures of %d × %d from %s", pictures.N, pictures.W, pictures.H, pictures.Root),
		Open:    func(i int) (vision.Picture, error) { return pictures.Picture(i), nil },
	}, nil
}

// withRemedy tells where absent files come from.
func (c Config) withRemedy(err error) error {
	var f *fault.Error
	if !errors.As(err, &f) || f.Kind != fault.NotFound {
		return err
	}
	if c.Root == "" {
		return f.WithHint("sudo apt install dataset-fashion-mnist, or give root: a folder with the four idx files")
	}
	return f.WithHint("root is a folder with the four idx files of MNIST's format")
}
