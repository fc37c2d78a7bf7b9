package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/plugin/sdk"
	"tandem/core/plugin/sdk/sample"
	"tandem/core/random"
)

// defaultRoot names the folder where Debian's package tuxpaint-stamps-default puts the stamps.
const defaultRoot = "/usr/share/tuxpaint"

// Config has the keys of the with block.
type Config struct {
	Root        string   `with:"root" type:"path" help:"folder with the folder stamps; empty: /usr/share/tuxpaint, where Debian's tuxpaint-stamps-default puts it"`
	Languages   []string `with:"languages" help:"languages of the captions, by the codes of Tux Paint (en, de, pt_BR, …); all: every one; a stamp without any of them is left out"`
	Kind        string   `with:"kind" enum:"all,photograph,drawing" help:"which stamps: a photograph is one where a quarter of the pixels have a colour of their own"`
	Templates   []string `with:"templates" help:"sentences for captions, {} being the caption; drawn anew each epoch"`
	NameShare   float64  `with:"name_share" min:"0" max:"1" help:"share of training captions that are the words of the stamp's file name and folder instead"`
	FolderShare float64  `with:"folder_share" min:"0" max:"1" help:"share of training captions that are the name of the folder or the subfolder instead"`
	sample.Options
	sample.Frame
}

// Defaults holds the values of keys that are not given.
var Defaults = Config{Languages: []string{english}, Kind: "all", Templates: []string{sample.Placeholder}, Options: sample.DefaultOptions,
	Frame: sample.Frame{Pad: true}}

// Plugin describes the plugin.
var Plugin = sdk.Dataset{
	Name: "tuxpaint", Version: "1.0.0", Summary: "Tux Paint's stamps, photographs and drawings, with captions in many languages",
	Capabilities: []string{clip.CapView2, clip.CapAugment, clip.CapCache},
	Config:       Defaults, New: func() clip.Dataset { return sample.New(open) },
}

// hint tells where the stamps come from.
const hint = "sudo apt-get install tuxpaint-stamps-default; or, without being root: runner data get tuxpaint, which prints the root to give"

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
	if len(cfg.Languages) == 0 {
		return nil, fault.New(fault.Invalid, "no language").WithPath("with.languages")
	}
	root := cfg.Root
	if root == "" {
		root = defaultRoot
	}
	folder := filepath.Join(root, "stamps")
	if _, err := os.Stat(folder); errors.Is(err, os.ErrNotExist) {
		return nil, fault.New(fault.NotFound, "no such folder: %s", folder).WithPath("with.root").WithHint(hint)
	}
	found, err := readStamps(folder)
	if err != nil {
		return nil, err
	}
	if len(found.stamps) == 0 {
		return nil, fault.New(fault.NotFound, "no stamps in %s", folder).WithPath("with.root").WithHint(hint)
	}
	if err := cfg.checkLanguages(found.stamps); err != nil {
		return nil, err
	}
	stamps, err := cfg.choose(ctx, found, c.Threads)
	if err != nil {
		return nil, err
	}
	set := &sample.Set{Fail: cfg.Fail(), Note: fmt.Sprintf("%d of %d stamps of Tux Paint (GPL-2) from %s%s", len(stamps), len(found.stamps), folder, found.leftOut())}
	paths := cfg.describe(set, found, stamps)
	for _, x := range found.broken {
		if cfg.Fail() {
			return nil, x
		}
		set.SkipError(x)
	}
	if err := set.FromFiles(ctx, c, paths, cfg.Vision()); err != nil {
		return nil, err
	}
	set.Framed(cfg.Frame, cfg.Background)
	return set, nil
}

// describe fills in samples, targets and captions of the stamps, and returns the paths of their pictures.
func (c Config) describe(set *sample.Set, all *listing, stamps []stamp) (paths []string) {
	folders, subfolders := all.classes()
	group := map[string]int64{}
	texts := sample.Distinct{}
	for _, s := range stamps {
		key := s.stem()
		if _, ok := group[key]; !ok {
			group[key] = int64(len(group))
		}
		set.Samples = append(set.Samples, sample.Sample{Key: s.file, Group: group[key], Captions: s.captions(c.Languages),
			Labels: []int32{folders.ID(s.folder()), subfolders.ID(s.subfolder())}})
		paths = append(paths, filepath.Join(all.root, filepath.FromSlash(s.file)))
		for _, caption := range s.captions(c.Languages) {
			for _, t := range sample.FillAll(c.Templates, caption) {
				texts.Add(t)
			}
		}
		if c.NameShare > 0 {
			texts.Add(s.name())
		}
		if c.FolderShare > 0 {
			for _, name := range s.folderNames() {
				texts.Add(name)
			}
		}
	}
	set.Targets = []clip.Target{folders.FolderTarget("folder", false), subfolders.FolderTarget("subfolder", false)}
	set.Texts = texts.List
	set.Caption = func(i int, r *random.Stream) string {
		if names := stamps[i].folderNames(); c.FolderShare > 0 && len(names) > 0 && r.Float64() < c.FolderShare {
			return sample.Choose(r, names)
		}
		if c.NameShare > 0 && r.Float64() < c.NameShare {
			return stamps[i].name()
		}
		return sample.Fill(sample.Choose(r, c.Templates), sample.Choose(r, set.Samples[i].Captions))
	}
	return paths
}

// checkLanguages refuses languages that no stamp has a caption in.
func (c Config) checkLanguages(stamps []stamp) error {
	known := map[string]bool{allLanguages: true}
	for _, s := range stamps {
		for _, t := range s.texts {
			known[t.language] = true
		}
	}
	for _, language := range c.Languages {
		if !known[language] {
			return fault.New(fault.Invalid, "no stamp has a caption in the language %q", language).WithPath("with.languages").
				WithHint("the languages are %s", strings.Join(slices.Sorted(maps.Keys(known)), ", "))
		}
	}
	return nil
}

// choose returns the stamps of the split, of the languages and of the kind.
func (c Config) choose(ctx context.Context, all *listing, threads int) ([]stamp, error) {
	var out []stamp
	for _, s := range all.stamps {
		switch {
		case len(s.captions(c.Languages)) == 0:
			all.without++
		case !c.Has(s.stem()):
			all.elsewhere++
		default:
			out = append(out, s)
		}
	}
	if c.Kind == "all" {
		return out, nil
	}
	photographs, err := arePhotographs(ctx, all.root, out, c.Vision(), threads)
	if err != nil {
		return nil, err
	}
	var kept []stamp
	for i, s := range out {
		if photographs[i] == (c.Kind == "photograph") {
			kept = append(kept, s)
		}
	}
	all.otherKind = len(out) - len(kept)
	return kept, nil
}
