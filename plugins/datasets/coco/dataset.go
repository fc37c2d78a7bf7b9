package main

import (
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"tandem/core/clip"
	"tandem/core/data/object"
	"tandem/core/fault"
	"tandem/core/media/vision"
	"tandem/core/plugin/sdk"
	"tandem/core/plugin/sdk/sample"
)

// Config has the keys of the with block.
type Config struct {
	Annotations  string  `with:"annotations" type:"source" required:"true" help:"captions_train2017.json and the like, or a file of Karpathy's splits: dataset_coco.json, dataset_flickr30k.json, dataset_flickr8k.json"`
	Root         string  `with:"root" type:"source" help:"folder or address that picture files are relative to; empty: beside the annotations, as COCO is unpacked (annotations/, train2017/)"`
	Split        string  `with:"split" enum:"all,train,val,test,restval" help:"of a file of Karpathy's; with test_fraction train and test are random parts of the pictures"`
	Restval      bool    `with:"restval" help:"split: train has the pictures of restval, too, as is usual for COCO"`
	TestFraction float64 `with:"test_fraction" min:"0" max:"1" help:"share of pictures in the test split; 0: splits are those of the file"`
	SplitSeed    uint64  `with:"split_seed" help:"chooses the test split, whatever the run's seed"`
	MaxCaptions  int     `with:"max_captions" min:"0" help:"only so many captions of a picture, its first; 0: all. Retrieval on COCO is usually told with 5"`
	Instances    string  `with:"instances" type:"source" help:"instances_train2017.json and the like: its categories become classes, for zero-shot classification; empty: none"`
	Label        string  `with:"label" enum:"largest,single" help:"which category of instances is a picture's class: that of the largest area, or the only one it has (else none)"`
	Background   [3]int  `with:"background" min:"0" max:"255" help:"RGB under transparent pixels"`
	Alpha        string  `with:"alpha" enum:"background,drop" help:"composite transparent pixels over the background, or take their colours as they are, as Pillow's convert(\"RGB\") does"`
	MaxPixels    int     `with:"max_pixels" min:"1" max:"2147483647" help:"pictures of more pixels are refused; decoding takes 3 to 9 bytes a pixel"`
	OnError      string  `with:"on_error" enum:"skip,fail" help:"replace or leave out what cannot be read, or stop"`
	object.Settings
}

// Defaults holds the values of keys that are not given.
var Defaults = Config{Split: "all", Restval: true, Label: "largest", Background: sample.DefaultOptions.Background, Alpha: sample.DefaultOptions.Alpha,
	MaxPixels: vision.MaxPixels, OnError: "skip", Settings: object.DefaultSettings}

// Plugin describes the plugin.
var Plugin = sdk.Dataset{
	Name: "coco", Version: "1.0.0", Summary: "COCO's captions, and Karpathy's splits of COCO and Flickr30k, with several captions for each picture",
	Capabilities: []string{clip.CapView2, clip.CapAugment, clip.CapCache},
	Config:       Defaults, New: func() clip.Dataset { return sample.New(open) },
}

func open(ctx context.Context, c clip.DatasetConfig) (*sample.Set, error) {
	cfg := Defaults
	if err := sdk.Decode(c.With, &cfg); err != nil {
		return nil, err
	}
	if cfg.TestFraction > 0 && cfg.Split != "all" && cfg.Split != "train" && cfg.Split != "test" {
		return nil, fault.New(fault.Invalid, "%q with test_fraction, want all, train or test", cfg.Split).WithPath("with.split")
	}
	return sample.FromStore(c, cfg.Settings, func(store *object.Store) (*sample.Set, error) { return cfg.read(ctx, c, store) })
}

// read makes a set of the files of annotations.
func (c Config) read(ctx context.Context, d clip.DatasetConfig, store *object.Store) (*sample.Set, error) {
	set := &sample.Set{Fail: c.OnError == "fail"}
	p := newPictures(c, set)
	if err := p.read(ctx, store); err != nil {
		return nil, err
	}
	if c.Instances != "" {
		if err := p.readInstances(ctx, store); err != nil {
			return nil, err
		}
	}
	set.List = p
	set.Note = fmt.Sprintf("%s: %d pictures with %d captions", c.Annotations, p.Len(), p.spoken)
	if p.elsewhere > 0 {
		set.Note += fmt.Sprintf(", %d of other splits", p.elsewhere)
	}
	if p.Len() == 0 {
		return nil, p.nothing()
	}
	base, err := c.base(p)
	if err != nil {
		return nil, err
	}
	o := sample.Options{Background: c.Background, Alpha: c.Alpha, MaxPixels: c.MaxPixels}.Vision()
	return set, set.FromNames(ctx, d, store, p.Len(), func(k int) string { return object.Join(base, p.name(k)) }, func(i int) int { return i }, o)
}

// base returns the folder of the pictures. COCO unpacks to annotations/captions_val2017.json and val2017/.
func (c Config) base(p *pictures) (string, error) {
	if c.Root != "" {
		return c.Root, nil
	}
	if object.IsAddress(c.Annotations) { // where trying costs
		return "", fault.New(fault.Invalid, "is required with annotations that are an address").WithPath("with.root")
	}
	dir := filepath.Dir(c.Annotations)
	stem := strings.TrimSuffix(path.Base(filepath.ToSlash(c.Annotations)), ".json")
	part := stem[strings.LastIndexByte(stem, '_')+1:] // val2017
	tried := []string{dir, filepath.Join(dir, "..", part), filepath.Join(dir, ".."), filepath.Join(dir, part), filepath.Join(dir, "images"),
		filepath.Join(dir, "..", "images"), filepath.Join(dir, "..", "images", part), filepath.Join(dir, stem+"_images"), filepath.Join(dir, part+"-images")}
	for _, folder := range tried {
		for k := range min(p.Len(), 20) { // of these some may be missing
			if _, err := os.Stat(filepath.Join(folder, filepath.FromSlash(p.name(k)))); err == nil {
				return folder, nil
			}
		}
	}
	return "", fault.New(fault.NotFound, "%s is in none of %s", p.name(0), strings.Join(tried, ", ")).WithPath("with.root").
		WithHint("root is the folder that the pictures' names are relative to")
}
