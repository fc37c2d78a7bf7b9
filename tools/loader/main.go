// Command loader reads batches of tar shards through the dataset plugin webdataset, as a training run does, for a comparison with
// other loaders (bench.py).
//
// For each line with a number of batches on standard input it reads so many and prints "done". Each picture is read once: what
// the plugin keeps of pictures in memory does not count. With -pixels it writes the pictures of the first batch, and how each
// was cropped, to a file instead.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/media/vision"
	"tandem/core/plugin/catalog"
	"tandem/core/plugin/process"
	"tandem/core/random"
)

func main() {
	l := loader{size: 224, seed: 1, augment: clip.Augment{Name: "random_resized_crop", Ratio: [2]float64{.75, 4. / 3}}}
	shards := flag.String("shards", "", "tar shards, as the plugin takes them")
	plugin := flag.String("plugin", "bin/plugins/datasets/webdataset", "the `file` of the plugin")
	pixels := flag.String("pixels", "", "a `file` for the pixels of the first batch")
	flag.IntVar(&l.batch, "batch", 256, "pictures in a batch")
	flag.IntVar(&l.threads, "threads", 1, "pictures that are decoded at a time")
	flag.Float64Var(&l.augment.Scale[0], "scale", .9, "smallest share of a picture's area that is a crop")
	flag.Float64Var(&l.augment.HFlip, "hflip", 0, "share of pictures that are mirrored")
	flag.Parse()
	l.augment.Scale[1] = 1
	if err := l.run(context.Background(), *plugin, *shards, *pixels); err != nil {
		fmt.Fprintln(os.Stderr, fault.Format(err))
		os.Exit(1)
	}
}

type loader struct {
	size, batch, threads int
	seed                 uint64
	augment              clip.Augment
	data                 clip.Dataset
	info                 clip.DatasetInfo
	next                 int
}

func (l *loader) run(ctx context.Context, plugin, shards, pixels string) error {
	path, err := filepath.Abs(plugin)
	if err != nil {
		return err
	}
	session, err := process.NewSession(process.SessionOptions{Catalog: catalog.New()})
	if err != nil {
		return err
	}
	defer session.Close()
	with, err := json.Marshal(map[string]any{"shards": []string{shards}, "captions": []string{"txt"}})
	if err != nil {
		return err
	}
	data, _, err := session.StartDataset(ctx, path, process.StartOptions{Threads: l.threads, With: with})
	if err != nil {
		return err
	}
	l.data = data
	l.info, err = data.Configure(ctx, clip.DatasetConfig{With: with, ImageSize: l.size, Seed: l.seed, Augment: &l.augment, Threads: l.threads})
	if err != nil {
		return err
	}
	if pixels != "" {
		return l.pixels(ctx, pixels)
	}
	fmt.Println("ready")
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		n, err := strconv.Atoi(strings.TrimSpace(lines.Text()))
		if err != nil {
			return err
		}
		for range n {
			b, err := l.read(ctx)
			if err != nil {
				return err
			}
			b.Images.Free()
		}
		fmt.Println("done")
	}
	return nil
}

// read reads the next batch of the first epoch.
func (l *loader) read(ctx context.Context) (*clip.Batch, error) {
	if l.next+l.batch > l.info.Len {
		return nil, fault.New(fault.Invalid, "%d pictures are too few: each is read once", l.info.Len)
	}
	q := clip.BatchRequest{Train: true, Indices: make([]int, l.batch)}
	for i := range q.Indices {
		q.Indices[i] = l.next
		l.next++
	}
	b, err := l.data.Batch(ctx, q)
	if err == nil && len(b.Faults) > 0 {
		err = fault.New(fault.Corrupt, "%s", b.Faults[0].Msg)
	}
	return b, err
}

// crop tells how a sample was cropped: a box of its picture, scaled to the size of the batch, then mirrored or not.
type crop struct {
	Key        string
	X, Y, W, H int
	Flip       bool
}

// pixels writes one line of JSON with the crops of the first batch, then its pixels. The crops are drawn again from the random
// numbers of each position (core/random): the pictures are of 256 × 256 pixels.
func (l *loader) pixels(ctx context.Context, path string) error {
	const side = 256
	b, err := l.read(ctx)
	if err != nil {
		return err
	}
	crops := make([]crop, l.batch)
	for i := range crops {
		s := random.New(l.seed, "augment", 0, i)
		c := &crops[i]
		c.Key = b.Keys[i]
		c.X, c.Y, c.W, c.H = vision.DrawCrop(s, side, side, vision.CropParams{Scale: l.augment.Scale, Ratio: l.augment.Ratio})
		c.Flip = s.Float64() < l.augment.HFlip
	}
	line, err := json.Marshal(crops)
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(append(line, '\n'), b.Images.U8()...), 0o644)
}
