package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"tandem/core/clip"
	"tandem/core/data/idx"
	"tandem/core/fault"
	"tandem/core/media/vision"
	"tandem/core/plugin/sdk"
	"tandem/core/plugin/sdk/sample"
)

// Config has the keys of the with block.
type Config struct {
	Root      string   `with:"root" type:"path" required:"true" help:"folder that runner data get mnist fills, or of MNIST's four idx files, gzipped or not"`
	Split     string   `with:"split" enum:"train,test" help:"the 60000 training or the 10000 test pictures"`
	Classes   []string `with:"classes" help:"words for the digits 0 to 9"`
	Templates []string `with:"templates" help:"captions, {} being the word; drawn anew each epoch"`
	Limit     int      `with:"limit" min:"0" help:"only the first so many samples; 0 for all"`
}

// Defaults holds the values of keys that are not given.
var Defaults = Config{
	Split:     "train",
	Classes:   []string{"zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"},
	Templates: []string{"{}", "the digit {}", "a handwritten {}", "the number {}", "a picture of the digit {}"},
}

// Plugin describes the plugin.
var Plugin = sdk.Dataset{
	Name: "mnist", Version: "1.0.0", Summary: "MNIST's handwritten digits, captioned by the words of the digits",
	Capabilities: []string{clip.CapView2, clip.CapAugment, clip.CapCache},
	Config:       Defaults, New: func() clip.Dataset { return sample.New(open) },
}

// hint tells where the files come from.
const hint = "fetch them with: runner data get mnist; it prints the root to give"

func open(_ context.Context, c clip.DatasetConfig) (*sample.Set, error) {
	cfg := Defaults
	if err := sdk.Decode(c.With, &cfg); err != nil {
		return nil, err
	}
	if err := sample.CheckTemplates(cfg.Templates); err != nil {
		return nil, err
	}
	pictures, err := idx.Open(cfg.Split, cfg.Root, filepath.Join(cfg.Root, module.Folder, "data"), filepath.Join(cfg.Root, "data"))
	if err != nil {
		var f *fault.Error
		if errors.As(err, &f) && f.Kind == fault.NotFound {
			return nil, f.WithHint(hint)
		}
		return nil, err
	}
	if cfg.Limit > 0 {
		pictures.First(cfg.Limit)
	}
	if err := pictures.Check(len(cfg.Classes)); err != nil {
		return nil, err
	}
	return &sample.Set{
		Samples: sample.ByClass(cfg.Split, pictures.Labels, cfg.Classes, cfg.Templates),
		Targets: []clip.Target{{Name: "digit", Classes: cfg.Classes}},
		Direct:  true,
		Pixels:  pictures.Digest,
		Note:    fmt.Sprintf("%d pictures of %d × %d from %s", pictures.N, pictures.W, pictures.H, pictures.Root),
		Open:    func(i int) (vision.Picture, error) { return pictures.Picture(i), nil },
	}, nil
}
