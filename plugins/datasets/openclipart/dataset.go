package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/plugin/sdk"
	"tandem/core/plugin/sdk/sample"
	"tandem/core/random"
)

// defaultRoot names the folder where Debian's packages put the drawings.
const defaultRoot = "/usr/share/openclipart"

// Config has the keys of the with block.
type Config struct {
	Root        string   `with:"root" type:"path" help:"folder with the folders png and svg; empty: /usr/share/openclipart, where Debian's openclipart-png and openclipart-svg put them"`
	Captions    string   `with:"captions" enum:"title,keywords,both,mixed" help:"title; keywords: some of them in random order; both: the title, then keywords; mixed: one of these, drawn anew each epoch"`
	MaxKeywords int      `with:"max_keywords" min:"1" help:"keywords in a training caption, 1 to this many, drawn anew each epoch"`
	FolderShare float64  `with:"folder_share" min:"0" max:"1" help:"share of training captions that name the drawing's folder or subfolder instead, in a template"`
	Templates   []string `with:"templates" help:"sentences for titles, {} being the title; drawn anew each epoch"`
	Rules       []string `with:"rules" enum:"duplicate,generated,blank,foreign,unsorted,nameless" help:"what is left out; docs/datasets.md says what each rule means"`
	sample.Options
	sample.Frame
}

// Defaults holds the values of keys that are not given.
var Defaults = Config{Captions: "mixed", MaxKeywords: 3, Templates: []string{"{}", "a drawing of {}", "clip art of {}", "a picture of {}"},
	Rules: ruleNames, Options: sample.DefaultOptions, Frame: sample.Frame{Pad: true}}

// Plugin describes the plugin.
var Plugin = sdk.Dataset{
	Name: "openclipart", Version: "1.0.0", Summary: "drawings of the Open Clip Art Library with titles and keywords",
	Capabilities: []string{clip.CapView2, clip.CapAugment, clip.CapCache},
	Config:       Defaults, New: func() clip.Dataset { return sample.New(open) },
}

// hint tells where the drawings come from.
const hint = "sudo apt-get install openclipart-png openclipart-svg; or, without being root: runner data get openclipart, which prints the root to give"

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
	root := cfg.Root
	if root == "" {
		root = defaultRoot
	}
	for _, folder := range []string{"svg", "png"} {
		if _, err := os.Stat(filepath.Join(root, folder)); errors.Is(err, os.ErrNotExist) {
			return nil, fault.New(fault.NotFound, "no such folder: %s", filepath.Join(root, folder)).WithPath("with.root").WithHint(hint)
		}
	}
	all, lacking, err := readDrawings(ctx, root, c.Threads)
	if err != nil {
		return nil, err
	}
	set := &sample.Set{Fail: cfg.Fail()}
	if err := cfg.refuse(set, all, lacking); err != nil {
		return nil, err
	}
	drawings, counts := filter(all, cfg.Rules)
	paths := cfg.describe(set, root, drawings)
	set.Note = fmt.Sprintf("%d of %d drawings of the Open Clip Art Library (public domain) from %s", len(set.Samples), len(all), root)
	if elsewhere := len(drawings) - len(set.Samples); elsewhere > 0 {
		set.Note += fmt.Sprintf(", %d of the other split", elsewhere)
	}
	if text := told(counts); text != "" {
		set.Note += "; left out by rule: " + text
	}
	if err := set.FromFiles(ctx, c, paths, cfg.Vision()); err != nil {
		return nil, err
	}
	set.Framed(cfg.Frame, cfg.Background)
	return set, nil
}

// refuse counts the drawings without a picture and those whose metadata cannot be read.
func (c Config) refuse(set *sample.Set, all []*drawing, lacking []string) error {
	for _, path := range lacking {
		if c.Fail() {
			return fault.New(fault.NotFound, "no picture of svg/%s.svg", path).WithReason("missing picture").WithHint("set on_error: skip")
		}
		set.Skip("missing picture", fmt.Sprintf("no picture of svg/%s.svg", path))
	}
	for _, d := range all {
		if d.unread == nil {
			continue
		}
		if c.Fail() {
			return d.unread
		}
		set.SkipError(d.unread)
	}
	return nil
}

// describe fills in the samples of the split, targets and captions, and returns the paths of their pictures. Classes
// are those of all drawings, whatever the split.
func (c Config) describe(set *sample.Set, root string, drawings []*drawing) (paths []string) {
	var folders, subfolders sample.Classes
	var mine []*drawing
	for _, d := range drawings {
		folder, subfolder := d.classes()
		folders.Add(folder)
		subfolders.Add(subfolder)
	}
	var texts sample.Distinct
	for _, d := range drawings {
		if !c.Has(d.group) {
			continue
		}
		folder, subfolder := d.classes()
		set.Samples = append(set.Samples, sample.Sample{Key: d.path, Group: int64(len(mine)), Captions: c.captions(d),
			Labels: []int32{folders.ID(folder), subfolders.ID(subfolder)}})
		mine = append(mine, d)
		paths = append(paths, d.picture(root))
		for _, t := range sample.FillAll(c.Templates, d.name) {
			texts.Add(t)
		}
		texts.Add(strings.Join(d.keywords, ", "))
		if c.FolderShare > 0 {
			for _, name := range d.folderNames() {
				for _, t := range sample.FillAll(c.Templates, name) {
					texts.Add(t)
				}
			}
		}
	}
	set.Targets = []clip.Target{folders.FolderTarget("folder", true), subfolders.FolderTarget("subfolder", true)}
	set.Texts = texts.List
	set.Caption = func(i int, s *random.Stream) string { return c.draw(mine[i], s) }
	return paths
}

// captions returns the captions for evaluation.
func (c Config) captions(d *drawing) []string {
	keywords := strings.Join(d.keywords, ", ")
	switch {
	case c.Captions == "title" || keywords == "":
		return []string{d.name}
	case c.Captions == "keywords":
		return []string{keywords}
	case c.Captions == "both":
		return []string{d.name + ", " + keywords}
	}
	return []string{d.name, keywords}
}

// draw draws a caption for training.
func (c Config) draw(d *drawing, s *random.Stream) string {
	if names := d.folderNames(); c.FolderShare > 0 && len(names) > 0 && s.Float64() < c.FolderShare {
		return sample.Fill(sample.Choose(s, c.Templates), sample.Choose(s, names))
	}
	kind := c.Captions
	if kind == "mixed" {
		kind = sample.Choose(s, []string{"title", "title", "both", "keywords"})
	}
	if kind == "title" || len(d.keywords) == 0 {
		return sample.Fill(sample.Choose(s, c.Templates), d.name)
	}
	n := 1 + s.IntN(min(c.MaxKeywords, len(d.keywords)))
	some := make([]string, 0, n+1)
	if kind == "both" {
		some = append(some, d.name)
	}
	for _, at := range s.Perm(len(d.keywords))[:n] {
		some = append(some, d.keywords[at])
	}
	return strings.Join(some, ", ")
}

// classes returns the names of the drawing's first folder and of its first two, "animals/birds"; "" for none.
func (d *drawing) classes() (folder, subfolder string) {
	names := d.folders()
	if len(names) == 0 || names[0] == "unsorted" {
		return "", ""
	}
	folder = plain(names[0])
	if len(names) > 1 {
		subfolder = folder + "/" + plain(names[1])
	}
	return folder, subfolder
}

// folderNames returns the names of the drawing's first two folders, as one says them.
func (d *drawing) folderNames() (names []string) {
	folder, subfolder := d.classes()
	for _, name := range []string{folder, subfolder[strings.LastIndex(subfolder, "/")+1:]} {
		if name != "" {
			names = append(names, name)
		}
	}
	return names
}
