package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"tandem/core/clip"
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
	Capabilities: []string{clip.CapView2},
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
	prefix := map[string]string{"train": "train", "test": "t10k"}[cfg.Split]
	images, err := cfg.read(prefix+"-images", 3)
	if err != nil {
		return nil, err
	}
	labels, err := cfg.read(prefix+"-labels", 1)
	if err != nil {
		return nil, err
	}
	n := images.shape[0]
	if n != labels.shape[0] {
		return nil, fault.New(fault.Corrupt, "%d labels for %d pictures", labels.shape[0], n).WithFile(labels.file, 0, 0)
	}
	if cfg.Limit > 0 {
		n = min(n, cfg.Limit)
	}
	h, w := images.shape[1], images.shape[2]
	set := &sample.Set{
		Targets: []clip.Target{{Name: "label", Classes: cfg.Classes}},
		Direct:  true,
		Pixels:  images.digest,
		Note:    fmt.Sprintf("%d pictures of %d × %d from %s", n, w, h, filepath.Dir(images.file)),
		Open:    func(i int) (vision.Picture, error) { return greyPicture(images.data[i*h*w:][:h*w], w, h), nil },
	}
	captions := make([][]string, len(cfg.Classes)) // shared by the samples of a class
	for i, name := range cfg.Classes {
		captions[i] = sample.FillAll(cfg.Templates, name)
	}
	for i, label := range labels.data[:n] {
		if int(label) >= len(cfg.Classes) {
			return nil, fault.New(fault.Invalid, "picture %d has label %d, classes has %d names", i, label, len(cfg.Classes)).
				WithPath("with.classes").WithFile(labels.file, 0, 0)
		}
		set.Samples = append(set.Samples, sample.Sample{Key: fmt.Sprintf("%s/%05d", cfg.Split, i), Group: int64(label),
			Captions: captions[label], Labels: []int32{int32(label)}})
	}
	return set, nil
}

// greyPicture returns a picture of one byte a pixel.
func greyPicture(pix []byte, w, h int) vision.Picture {
	p := vision.NewPicture(w, h)
	for i, v := range pix {
		p.Pix[3*i], p.Pix[3*i+1], p.Pix[3*i+2] = v, v, v
	}
	return p
}

// read finds and reads an idx file: "train-images" is train-images-idx3-ubyte, perhaps with a dot for
// the second dash and perhaps gzipped.
func (c Config) read(stem string, axes int) (*idx, error) {
	root := c.Root
	if root == "" {
		root = defaultRoot
	}
	name := fmt.Sprintf("%s-idx%d-ubyte", stem, axes)
	names := []string{name, name + ".gz", fmt.Sprintf("%s.idx%d-ubyte", stem, axes), fmt.Sprintf("%s.idx%d-ubyte.gz", stem, axes)}
	at := slices.IndexFunc(names, func(n string) bool { _, err := os.Stat(filepath.Join(root, n)); return err == nil })
	if at >= 0 {
		return readIdx(filepath.Join(root, names[at]), axes)
	}
	err := fault.New(fault.NotFound, "no %s or %s.gz in %s", name, name, root).WithPath("with.root")
	if c.Root == "" {
		return nil, err.WithHint("sudo apt install dataset-fashion-mnist, or give root: a folder with the four idx files")
	}
	if _, statErr := os.Stat(root); errors.Is(statErr, os.ErrNotExist) {
		err.Msg = "no such folder: " + root
	}
	return nil, err.WithHint("root is a folder with the four idx files of MNIST's format")
}
