package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"tandem/core/clip"
	"tandem/core/data/object"
	"tandem/core/data/shard"
	"tandem/core/fault"
	"tandem/core/media/vision"
	"tandem/core/plugin/sdk"
	"tandem/core/plugin/sdk/sample"
)

// Config has the keys of the with block.
type Config struct {
	Shards         []string `with:"shards" type:"source" required:"true" help:"tar files (.tar, .tar.gz, .tar.zst): paths, addresses, globs, brace ranges such as data/{00000..00099}.tar, or folders of them"`
	Image          []string `with:"image" help:"endings of the picture's member; the first that a sample has is its picture"`
	Captions       []string `with:"captions" help:"where captions stand: txt is a member, json:caption a field of a JSON member; of txt;json:caption the first that a sample has counts; several entries add up"`
	Lines          bool     `with:"lines" help:"each line of a text member is a caption or a negative, rather than the whole text"`
	Label          string   `with:"label" help:"where the class stands, as captions do: cls, or json:label; empty: none"`
	Classes        []string `with:"classes" help:"names of the classes by the number in label, from 0; otherwise the labels are the names"`
	Negatives      []string `with:"negatives" help:"where texts stand that do not fit the picture, as captions do, for losses that take negatives; samples without any are refused"`
	NegativesCount int      `with:"negatives_count" min:"0" help:"negatives of each sample in a batch; 0: as many as entries of negatives"`
	IndexDir       string   `with:"index_dir" type:"path" help:"folder that keeps the indexes of the shards and copies of compressed ones; empty: the user's cache folder"`
	UnpackGiB      float64  `with:"unpack_gib" min:"0" help:"GiB that unpacked copies of compressed shards may take there"`
	object.Settings
	sample.Options
}

// Defaults holds the values of keys that are not given.
var Defaults = Config{Image: []string{"jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "ppm", "pgm", "pbm", "avif", "img"},
	Captions: []string{"txt;text;caption;json:caption"}, UnpackGiB: 64, Settings: object.DefaultSettings, Options: sample.DefaultOptions}

// Plugin describes the plugin.
var Plugin = sdk.Dataset{
	Name: "webdataset", Version: "1.0.0", Summary: "tar shards of pictures, captions and labels, as webdataset and img2dataset write them",
	Capabilities: []string{clip.CapNegatives, clip.CapView2, clip.CapAugment, clip.CapCache},
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
	plan, err := cfg.plan()
	if err != nil {
		return nil, err
	}
	return sample.FromStore(c, cfg.Settings, func(store *object.Store) (*sample.Set, error) { return cfg.read(ctx, c, store, plan) })
}

// read opens the shards of a store as a set.
func (c Config) read(ctx context.Context, d clip.DatasetConfig, store *object.Store, p *plan) (*sample.Set, error) {
	names, remarks, err := c.list(ctx, store)
	if err != nil {
		return nil, err
	}
	notes, incomplete := manifests(names)
	remarks = append(remarks, incomplete...)
	folder := c.IndexDir
	if folder == "" && d.CacheDir != "" {
		folder = filepath.Join(d.CacheDir, "shards")
		if err := os.MkdirAll(folder, 0o755); err != nil { // a cache folder that cannot be written costs time, not the run
			remarks = append(remarks, fmt.Sprintf("indexes of shards are not kept, and shards are looked through each time: %v; index_dir names another folder", err))
			folder = ""
		}
	}
	shards, err := shard.Open(ctx, store, names, shard.Options{Wanted: p.wanted, Folder: folder, Threads: d.Threads,
		UnpackedBytes: int64(c.UnpackGiB * (1 << 30))})
	if err != nil {
		return nil, err
	}
	set := &sample.Set{Fail: c.Fail(), Remarks: append(remarks, remarksOn(shards)...), Negatives: p.perSample}
	set.Close = func() { shards.Close() }
	if err := c.collect(ctx, set, shards, p); err != nil {
		shards.Close()
		return nil, err
	}
	for _, n := range notes {
		set.Note += "; " + n
	}
	return set, nil
}

// collect turns the records of the split into samples.
func (c Config) collect(ctx context.Context, set *sample.Set, shards *shard.Set, p *plan) error {
	classes, err := c.classes(set, shards, p)
	if err != nil {
		return err
	}
	l := &list{shards: shards, plan: p, classes: classes, starts: []int{0}, again: map[int]bool{}}
	seen := map[uint64]bool{} // hashes of keys
	elsewhere, unlabelled := 0, 0
	var again shard.Tally
	for _, x := range shards.Shards {
		if ctx.Err() != nil {
			return fault.New(fault.Canceled, "%w", ctx.Err())
		}
		if c.Fail() && len(x.Flaws) > 0 {
			return x.Flaws[0].Fault(x.Shard)
		}
		for _, f := range x.Flaws {
			set.SkipAll(f.Skip(x.Shard))
		}
		chosen := make([]int32, 0, x.Len())
		for i := range x.Len() {
			r := x.At(i)
			if flaw := c.lack(p, r); flaw != nil {
				if c.Fail() {
					return flaw.Fault(x.Shard)
				}
				set.SkipAll(flaw.Skip(x.Shard))
				continue
			}
			key := sample.Key(r.Key)
			if !c.Has(key) {
				elsewhere++
				continue
			}
			h := hash(key)
			if n := l.starts[len(l.starts)-1] + len(chosen); seen[h] {
				again.Add(key)
				l.again[n] = true
			}
			seen[h] = true
			if classes != nil && p.labelOf(r.Texts) == "" {
				unlabelled++
			}
			chosen = append(chosen, int32(i))
		}
		l.starts = append(l.starts, l.starts[len(l.starts)-1]+len(chosen))
		set.Shards = append(set.Shards, len(chosen))
		if len(chosen) == x.Len() {
			chosen = nil
		}
		l.chosen = append(l.chosen, chosen)
	}
	if l.Len() == 0 {
		return c.nothing(set, elsewhere)
	}
	set.List = l
	set.Note = fmt.Sprintf("%s: %d samples of %d shards", strings.Join(c.Shards, ", "), l.Len(), len(shards.Shards))
	if elsewhere > 0 {
		set.Note += fmt.Sprintf(", %d of the other split", elsewhere)
	}
	if again.N > 0 {
		set.Remarks = append(set.Remarks, fmt.Sprintf("%d samples have the key of an earlier one, the first is %s: the numbers of shard and record are added to their keys", again.N, again.First))
	}
	if unlabelled > 0 {
		set.Remarks = append(set.Remarks, fmt.Sprintf("%d samples have no class in %s", unlabelled, c.Label))
	}
	digest, whole := shards.Digest()
	if !whole {
		set.Note += "; the digest stands for sizes and times of the shards, which are too large to be read as a whole"
	}
	set.Digest = c.digest(digest, p)
	o := c.Vision()
	how := sample.Decoding(o)
	set.Content = func(i int) string { return l.content(i) + how }
	set.OpenContext = func(ctx context.Context, i int) (vision.Picture, error) { return l.picture(ctx, i, o) }
	return nil
}

// digest returns a digest of all that batches are made of: what the shards contain, and how samples are made of it.
func (c Config) digest(shards string, p *plan) string {
	text, _ := json.Marshal([]any{shards, p.wanted, p.captions, p.negatives, p.perSample, c.Classes, c.Split, c.TestFraction, c.SplitSeed}) // of texts and numbers
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// lack says what a record lacks to be a sample; nil for nothing.
func (c Config) lack(p *plan, r shard.Record) *shard.Flaw {
	lack := func(reason string, in []string) *shard.Flaw {
		return &shard.Flaw{Reason: reason, Count: 1, Member: r.Key + "." + r.Ending, Message: "its sample has none in " + strings.Join(in, ", ")}
	}
	switch {
	case len(p.captionsOf(r.Texts)) == 0:
		return lack("no caption", c.Captions)
	case p.negatives > 0 && len(p.negativesOf(r.Texts)) == 0:
		return lack("no negative", c.Negatives)
	}
	return nil
}

// nothing reports that no record makes a sample.
func (c Config) nothing(set *sample.Set, elsewhere int) error {
	err := fault.New(fault.NotFound, "no samples in %s", strings.Join(c.Shards, ", ")).WithPath("with.shards")
	switch skips := set.Skips(); {
	case elsewhere > 0:
		err.WithHint("all %d are of the other split", elsewhere)
	case len(skips) > 0:
		err = fault.New(fault.Corrupt, "no samples in %s: %d records are refused, the first: %s (%s)", strings.Join(c.Shards, ", "),
			clip.CountSkips(skips), skips[0].First, skips[0].Reason).WithPath("with.shards")
		switch skips[0].Reason {
		case "missing shard":
			err.WithHint("check the path; a range is {000..099}, in quotes")
		case "corrupt shard":
			err.WithHint("tar --list --file FILE says what is in a shard; get it anew")
		default:
			err.WithHint("captions and image say which members are used; the members of a sample must lie together in the tar file (tar --sort=name)")
		}
	}
	return err
}
