package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
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
	Lines          bool     `with:"lines" help:"each line of a text member is a caption, rather than the whole text"`
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
	Capabilities: []string{clip.CapNegatives, clip.CapView2, clip.CapAugment},
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
	store, err := cfg.Settings.Open(c)
	if err != nil {
		return nil, err
	}
	names, remarks, err := cfg.list(ctx, store)
	if err != nil {
		return nil, err
	}
	folder := cfg.IndexDir
	if folder == "" && c.CacheDir != "" {
		folder = filepath.Join(c.CacheDir, "shards")
	}
	shards, err := shard.Open(ctx, store, names, shard.Options{Wanted: plan.wanted, Folder: folder, Threads: c.Threads,
		UnpackedBytes: int64(cfg.UnpackGiB * (1 << 30))})
	if err != nil {
		return nil, err
	}
	set := &sample.Set{Fail: cfg.Fail(), Remarks: append(remarks, remarksOn(shards)...), Negatives: plan.negativesCount}
	if err := cfg.collect(ctx, set, shards, plan); err != nil {
		shards.Close()
		return nil, err
	}
	return set, nil
}

// place tells where the picture of a sample lies.
type place struct {
	shard, record int32
}

// collect turns the records of the split into samples.
func (c Config) collect(ctx context.Context, set *sample.Set, shards *shard.Set, p *plan) error {
	classes, err := c.classes(set, shards, p)
	if err != nil {
		return err
	}
	var places []place
	seen := map[string]bool{}
	elsewhere, unlabelled := 0, 0
	var again tally
	for n, x := range shards.Shards {
		if ctx.Err() != nil {
			return fault.New(fault.Canceled, "%w", ctx.Err())
		}
		for _, f := range x.Flaws {
			if c.Fail() {
				return f.Fault(x.Shard)
			}
			set.SkipAll(f.Skip(x.Shard))
		}
		before := len(set.Samples)
		for i := range x.Len() {
			r := x.At(i)
			captions := p.captions.of(r.Texts)
			refuse := func(reason, what string) error {
				flaw := shard.Flaw{Reason: reason, Count: 1, Member: r.Key + "." + r.Ending, Message: what}
				if c.Fail() {
					return flaw.Fault(x.Shard)
				}
				set.SkipAll(flaw.Skip(x.Shard))
				return nil
			}
			if len(captions) == 0 {
				if err := refuse("no caption", fmt.Sprintf("its sample has none in %s", strings.Join(c.Captions, ", "))); err != nil {
					return err
				}
				continue
			}
			var negatives []string
			if set.Negatives > 0 {
				negatives = slices.DeleteFunc(p.negatives.of(r.Texts), func(t string) bool { return slices.Contains(captions, t) })
				if len(negatives) == 0 {
					if err := refuse("no negative", fmt.Sprintf("its sample has none in %s", strings.Join(c.Negatives, ", "))); err != nil {
						return err
					}
					continue
				}
			}
			key := sample.Key(r.Key)
			if !c.Has(key) {
				elsewhere++
				continue
			}
			if seen[key] {
				again.add(key)
				key = fmt.Sprintf("%s#%d.%d", key, n, i)
			}
			seen[key] = true
			s := sample.Sample{Key: key, Group: int64(len(set.Samples)), Captions: captions, Negatives: negatives}
			if classes != nil {
				class, ok := classes[p.label(r.Texts)]
				if !ok {
					class = -1
					unlabelled++
				}
				s.Labels = []int32{class}
			}
			set.Samples = append(set.Samples, s)
			places = append(places, place{int32(n), int32(i)})
		}
		set.Shards = append(set.Shards, len(set.Samples)-before)
	}
	if len(set.Samples) == 0 {
		return c.nothing(set, elsewhere)
	}
	set.Note = fmt.Sprintf("%s: %d samples of %d shards", strings.Join(c.Shards, ", "), len(set.Samples), len(shards.Shards))
	if elsewhere > 0 {
		set.Note += fmt.Sprintf(", %d of the other split", elsewhere)
	}
	if again.n > 0 {
		set.Remarks = append(set.Remarks, fmt.Sprintf("%d samples have the key of an earlier one, the first is %s: numbers of shard and record are added to their keys", again.n, again.first))
	}
	if unlabelled > 0 {
		set.Remarks = append(set.Remarks, fmt.Sprintf("%d samples have no class in %s", unlabelled, c.Label))
	}
	digest, whole := shards.Digest()
	if !whole {
		set.Note += "; the digest stands for sizes and times of the shards, which are too large to be read as a whole"
	}
	set.Pixels = digest
	o := c.Vision()
	set.OpenContext = func(ctx context.Context, i int) (vision.Picture, error) { return picture(ctx, shards, places[i], o) }
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
			clip.CountSkips(skips), skips[0].First, skips[0].Reason).WithPath("with.shards").
			WithHint("captions and image say which members are used; the members of a sample must lie together in the tar file (tar --sort=name)")
	}
	return err
}

// picture reads and decodes a picture. Its error names shard and member.
func picture(ctx context.Context, shards *shard.Set, at place, o vision.Options) (vision.Picture, error) {
	x := shards.Shards[at.shard]
	r := x.At(int(at.record))
	var none vision.Picture
	name := x.Shard + ": member " + fault.PrintableLine(r.Key+"."+r.Ending)
	if r.Size > vision.MaxFileBytes {
		return none, fault.New(fault.Invalid, "%d bytes, at most %d are read", r.Size, vision.MaxFileBytes).WithFile(name, 0, 0).WithReason("too many pixels")
	}
	data, err := shards.Read(ctx, int(at.shard), r.Offset, r.Size)
	if err != nil {
		return none, err
	}
	return vision.DecodeFile(name, data, o)
}
