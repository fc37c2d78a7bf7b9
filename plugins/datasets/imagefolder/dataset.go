package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/files"
	"tandem/core/plugin/sdk"
	"tandem/core/plugin/sdk/sample"
)

// Config has the keys of the with block.
type Config struct {
	Root       string            `with:"root" type:"path" required:"true" help:"folder with a folder of pictures for each class"`
	Templates  []string          `with:"templates" help:"captions, {} being the class name; drawn anew each epoch"`
	ClassNames map[string]string `with:"class_names" help:"names of classes by folder; otherwise the folder's, with spaces for _ and -"`
	Sidecar    string            `with:"sidecar" enum:"auto,never,only" help:"captions from cat.txt beside cat.jpg, one a line: where there is such a file, never, or leave out pictures without one"`
	sample.Options
}

// Defaults holds the values of keys that are not given.
var Defaults = Config{Templates: []string{"a photo of a {}", "a {}", "a picture of a {}"}, Sidecar: "auto", Options: sample.DefaultOptions}

// Plugin describes the plugin.
var Plugin = sdk.Dataset{
	Name: "imagefolder", Version: "1.0.0", Summary: "a folder of pictures for each class, with captions from templates or text files",
	Capabilities: []string{clip.CapView2, clip.CapAugment, clip.CapCache},
	Config:       Defaults, New: func() clip.Dataset { return sample.New(open) },
}

func open(ctx context.Context, c clip.DatasetConfig) (*sample.Set, error) {
	cfg := Defaults
	if err := sdk.Decode(c.With, &cfg); err != nil {
		return nil, err
	}
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	if err := sample.CheckTemplates(cfg.Templates); err != nil {
		return nil, err
	}
	found, err := files.Pictures(ctx, cfg.Root)
	if err != nil {
		return nil, err
	}
	if len(found.Pictures) == 0 {
		return nil, fault.New(fault.NotFound, "no pictures%s", because(found)).WithPath("with.root").WithFile(cfg.Root, 0, 0).
			WithHint("expected are folders named after classes with files such as %s", strings.Join(files.PictureEndings[:4], " "))
	}
	set := &sample.Set{Fail: cfg.Fail(), Remarks: found.Remarks()}
	paths, err := cfg.collect(ctx, set, found.Pictures)
	if err != nil {
		return nil, err
	}
	classes := 0
	if set.Targets != nil {
		classes = len(set.Targets[0].Classes)
	}
	set.Note = fmt.Sprintf("%s: %d pictures of %d classes%s", cfg.Root, len(set.Samples), classes, set.Note)
	return set, set.FromFiles(ctx, c, paths, cfg.Vision())
}

// because says what was found instead of pictures.
func because(found *files.Listing) string {
	if r := found.Remarks(); len(r) > 0 {
		return ": " + strings.Join(r, "; ")
	}
	return ""
}

// collect turns the pictures of the split into samples and gives the path of each. Classes are all folders with
// pictures, whatever the split, so that ids agree between splits.
func (c Config) collect(ctx context.Context, set *sample.Set, pictures []string) (paths []string, err error) {
	var folders []string
	for _, f := range pictures {
		if class := classOf(f); class != "" {
			folders = append(folders, class)
		}
	}
	slices.Sort(folders)
	folders = slices.Compact(folders)
	names, captions := make([]string, len(folders)), make([][]string, len(folders))
	for i, f := range folders {
		names[i] = c.className(f)
		captions[i] = sample.FillAll(c.Templates, names[i])
	}
	if len(names) > 0 { // else all pictures have captions of their own, and no class
		set.Targets = []clip.Target{{Name: "label", Classes: names}}
	}
	set.Remarks = append(set.Remarks, c.oneName(folders, names)...)
	without, loose, elsewhere, unread := 0, 0, 0, 0
	for _, f := range pictures {
		if ctx.Err() != nil {
			return nil, fault.New(fault.Canceled, "%w", ctx.Err())
		}
		key := sample.Key(f)
		if !c.Has(key) {
			elsewhere++
			continue
		}
		path := filepath.Join(c.Root, filepath.FromSlash(f))
		class, found := slices.BinarySearch(folders, classOf(f))
		if !found {
			class = -1
		}
		own, err := c.sidecar(path)
		if err != nil && c.Fail() {
			return nil, err
		}
		// Pictures of a class that share their captions are positives of one another; a picture with
		// captions of its own is alone.
		x := sample.Sample{Key: key, Group: int64(class), Captions: own}
		if set.Targets != nil {
			x.Labels = []int32{int32(class)}
		}
		switch {
		case len(own) > 0:
			x.Group = int64(len(folders) + len(set.Samples))
		case err != nil: // a text file that cannot be read
			set.SkipError(err)
			unread++
			continue
		case c.Sidecar != "only" && class >= 0:
			x.Captions = captions[class]
		case c.Sidecar == "only":
			without++
			continue
		default:
			loose++
			continue
		}
		set.Samples = append(set.Samples, x)
		paths = append(paths, path)
	}
	for _, part := range []struct {
		n    int
		what string
	}{{elsewhere, "of the other split"}, {without, "left out: they have no text file"}, {unread, "refused: their text files cannot be read"}} {
		if part.n > 0 {
			set.Note += fmt.Sprintf(", %d %s", part.n, part.what)
		}
	}
	if loose > 0 {
		set.Remarks = append(set.Remarks, fmt.Sprintf("%d pictures lie in %s itself: they have no class, and without a text file no caption; they are left out",
			loose, c.Root))
	}
	return paths, nil
}

// oneName returns remarks on folders that are different classes but have one name, or names that hardly differ,
// or names that are not UTF-8.
func (c Config) oneName(folders, names []string) []string {
	first := make(map[string]string, len(folders))
	var out []string
	for i, f := range folders {
		if !utf8.ValidString(f) && len(out) < maxNames {
			out = append(out, fmt.Sprintf("the name of the folder %s is not UTF-8 (class_names gives folders names)", sample.Key(f)))
		}
		if before, ok := first[names[i]]; !ok {
			first[names[i]] = f
		} else if len(out) < maxNames {
			out = append(out, fmt.Sprintf("the folders %s and %s are two classes of one name, %q: zero-shot cannot tell them apart (class_names gives folders names)",
				before, f, names[i]))
		}
	}
	return append(out, sample.Alike(slices.Sorted(maps.Keys(first)))...)
}

// maxNames limits the remarks on names.
const maxNames = 5

// classOf returns the first folder of a relative path; "" for a file in the root.
func classOf(file string) string {
	class, _, nested := strings.Cut(file, "/")
	if !nested {
		return ""
	}
	return class
}

func (c Config) className(folder string) string {
	folder = sample.Key(folder)
	if name, ok := c.ClassNames[folder]; ok {
		return name
	}
	return strings.TrimSpace(strings.NewReplacer("_", " ", "-", " ").Replace(folder))
}

// sidecar returns the captions in the text file beside a picture; none when there is no such file. Text that is
// not UTF-8 yields fault.Corrupt.
func (c Config) sidecar(picture string) ([]string, error) {
	if c.Sidecar == "never" {
		return nil, nil
	}
	path := strings.TrimSuffix(picture, filepath.Ext(picture)) + ".txt"
	text, err := files.Read(path, maxText)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return nil, fault.New(fault.KindOf(err), "%w", err).WithReason("unreadable text file")
	}
	if !utf8.Valid(text) {
		return nil, fault.New(fault.Corrupt, "captions are not UTF-8").WithReason("not UTF-8").WithFile(path, 0, 0)
	}
	var out sample.Distinct
	for line := range strings.Lines(strings.TrimPrefix(string(text), "\ufeff")) {
		if line = strings.TrimSpace(line); line != "" {
			out.Add(line)
		}
	}
	return out.List, nil
}

// maxText limits the length of a file of captions in bytes.
const maxText = 16 << 20
