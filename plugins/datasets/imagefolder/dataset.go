package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/sdk"
	"tandem/core/sdk/sample"
	"tandem/core/vision"
)

// Config is the with block.
type Config struct {
	Root       string            `with:"root" type:"path" required:"true" help:"folder with a folder of pictures for each class"`
	Templates  []string          `with:"templates" help:"captions, {} being the class name; drawn anew each epoch"`
	ClassNames map[string]string `with:"class_names" help:"names of classes by folder; otherwise the folder's, with spaces for _ and -"`
	Sidecar    string            `with:"sidecar" enum:"auto,never,only" help:"captions from cat.txt beside cat.jpg, one a line: where there is such a file, never, or leave out pictures without one"`
	sample.Options
}

// Defaults are the values of keys that are not given.
var Defaults = Config{Templates: []string{"a photo of a {}", "a {}", "a picture of a {}"}, Sidecar: "auto", Options: sample.DefaultOptions}

// Plugin describes the plugin.
var Plugin = sdk.Dataset{
	Name: "imagefolder", Version: "1.0.0", Summary: "a folder of pictures for each class, with captions from templates or text files",
	Config: Defaults, New: func() clip.Dataset { return sample.New(open) },
}

// extensions are the files taken for pictures, in lower case.
var extensions = []string{".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff", ".webp"}

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
	files, err := list(ctx, cfg.Root)
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fault.New(fault.NotFound, "no pictures").WithPath("with.root").WithFile(cfg.Root, 0, 0).
			WithHint("expected are folders named after classes with files such as %s", strings.Join(extensions, " "))
	}
	set := &sample.Set{Fail: cfg.Fail()}
	paths, err := cfg.collect(ctx, set, files)
	if err != nil {
		return nil, err
	}
	if set.Pixels, err = sample.DigestFiles(ctx, paths, keys(set.Samples)); err != nil {
		return nil, err
	}
	set.Files = paths
	decoding := cfg.Vision()
	set.Open = func(i int) (vision.Picture, error) { return sample.ReadPicture(paths[i], decoding) }
	set.Note = fmt.Sprintf("%s: %d pictures of %d classes", cfg.Root, len(set.Samples), len(set.Targets[0].Classes))
	return set, nil
}

// list gives the pictures below root as slash-separated relative paths, sorted. Hidden files and
// folders are passed over; links to folders are not followed, so that no cycle is walked.
func list(ctx context.Context, root string) ([]string, error) {
	var out []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return sample.FileError(path, err)
		}
		if ctx.Err() != nil {
			return fault.New(fault.Canceled, "%w", ctx.Err())
		}
		if path != root && strings.HasPrefix(d.Name(), ".") {
			if d.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		if !d.IsDir() && slices.Contains(extensions, strings.ToLower(filepath.Ext(path))) {
			relative, err := filepath.Rel(root, path)
			if err != nil {
				return err
			}
			out = append(out, filepath.ToSlash(relative))
		}
		return nil
	})
	slices.Sort(out)
	return out, err
}

// collect turns the files of the split into samples and gives the path of each. Classes are all
// folders with pictures, whatever the split, so that ids agree between splits.
func (c Config) collect(ctx context.Context, set *sample.Set, files []string) (paths []string, err error) {
	var folders []string
	for _, f := range files {
		if class := classOf(f); class != "" && !slices.Contains(folders, class) {
			folders = append(folders, class)
		}
	}
	slices.Sort(folders)
	names, captions := make([]string, len(folders)), make([][]string, len(folders))
	for i, f := range folders {
		names[i] = c.className(f)
		captions[i] = sample.FillAll(c.Templates, names[i])
	}
	set.Targets = []clip.Target{{Name: "label", Classes: names}}
	for _, f := range files {
		if ctx.Err() != nil {
			return nil, fault.New(fault.Canceled, "%w", ctx.Err())
		}
		if !c.Has(f) {
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
		x := sample.Sample{Key: f, Group: int64(class), Captions: own, Labels: []int32{int32(class)}}
		if len(own) > 0 {
			x.Group = int64(len(folders) + len(set.Samples))
		} else if c.Sidecar != "only" && class >= 0 && err == nil {
			x.Captions = captions[class]
		} else {
			set.Skipped++
			continue
		}
		set.Samples = append(set.Samples, x)
		paths = append(paths, path)
	}
	return paths, nil
}

// classOf is the first folder of a relative path, "" for a file in the root.
func classOf(file string) string {
	class, _, nested := strings.Cut(file, "/")
	if !nested {
		return ""
	}
	return class
}

func (c Config) className(folder string) string {
	if name, ok := c.ClassNames[folder]; ok {
		return name
	}
	return strings.TrimSpace(strings.NewReplacer("_", " ", "-", " ").Replace(folder))
}

// sidecar is the captions in the text file beside a picture, none when there is no such file. Text that
// is not UTF-8 is fault.Corrupt.
func (c Config) sidecar(picture string) ([]string, error) {
	if c.Sidecar == "never" {
		return nil, nil
	}
	path := strings.TrimSuffix(picture, filepath.Ext(picture)) + ".txt"
	text, err := os.ReadFile(path)
	if err != nil {
		if os.IsNotExist(err) {
			return nil, nil
		}
		return nil, sample.FileError(path, err)
	}
	if !utf8.Valid(text) {
		return nil, fault.New(fault.Corrupt, "captions are not UTF-8").WithFile(path, 0, 0)
	}
	var out []string
	for line := range strings.Lines(strings.TrimPrefix(string(text), "\ufeff")) {
		if line = strings.TrimSpace(line); line != "" && !slices.Contains(out, line) {
			out = append(out, line)
		}
	}
	return out, nil
}

func keys(samples []sample.Sample) []string {
	out := make([]string, len(samples))
	for i, s := range samples {
		out[i] = s.Key
	}
	return out
}
