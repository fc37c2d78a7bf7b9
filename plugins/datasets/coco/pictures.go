package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"tandem/core/clip"
	"tandem/core/data/object"
	"tandem/core/fault"
	"tandem/core/plugin/sdk/sample"
)

// pictures holds the pictures of a split with their captions. It is a sample.List: a sample is a picture with all its captions,
// so that each of these is a positive of the picture in retrieval, and of no other.
type pictures struct {
	cfg      Config
	set      *sample.Set
	texts    *sample.Texts
	captions *sample.Lists // by picture

	names  []sample.Text   // by picture: its file
	places map[int64]int32 // by id: the picture
	known  map[string]bool // names
	kept   []int32         // the pictures that are samples
	split  map[string]int  // pictures of each split of the file
	label  []int32         // by picture: its class plus one, 0 for none

	said                     []int32 // by picture: captions so far
	spoken, elsewhere, total int
}

func newPictures(c Config, set *sample.Set) *pictures {
	texts := sample.NewTexts()
	return &pictures{cfg: c, set: set, texts: texts, captions: sample.NewLists(texts), places: map[int64]int32{}, known: map[string]bool{},
		split: map[string]int{}}
}

// refuse counts a record that cannot be used. With on_error: fail it returns the error.
func (p *pictures) refuse(file, reason, format string, args ...any) error {
	e := fault.New(fault.Corrupt, format, args...).WithFile(file, 0, 0).WithReason(reason)
	if p.set.Fail {
		return e.WithHint("mend the file, or set on_error: skip")
	}
	p.set.SkipError(e)
	return nil
}

// read reads the captions.
func (p *pictures) read(ctx context.Context, store *object.Store) error {
	file := p.cfg.Annotations
	var late []note // annotations whose picture has not come yet
	orphans := 0
	annotation := func(i int, x note, last bool) error {
		at, ok := p.places[x.Image]
		switch {
		case ok && at >= 0:
			p.add(int(at), x.Caption)
		case !ok && !last:
			late = append(late, x)
		case !ok:
			if orphans++; orphans == 1 || p.set.Fail {
				return p.refuse(file, "corrupt record", "an annotation is of the picture %d, which is not in the file", x.Image)
			}
			p.set.SkipAll(clip.Skip{Reason: "corrupt record", Count: 1})
		}
		return nil
	}
	err := readFile(ctx, store, file, handlers{
		image:      func(i int, x entry) error { return p.addPicture(file, i, x) },
		annotation: func(i int, x note) error { return annotation(i, x, false) },
		broken: func(list string, i int, err error) error {
			return p.refuse(file, "corrupt record", "%s[%d]: %w", list, i, err)
		},
	})
	if e, ok := err.(*fault.Error); ok && e.Path == "" {
		e.Path = "with.annotations"
	}
	if err != nil {
		return err
	}
	for i, x := range late {
		if err := annotation(i, x, true); err != nil {
			return err
		}
	}
	if err := p.checkSplit(); err != nil {
		return err
	}
	for i := range p.names {
		if p.captions.Len(i) > 0 {
			p.kept = append(p.kept, int32(i))
			p.spoken += p.captions.Len(i)
		} else if err := p.refuse(file, "no caption", "%s has no caption", p.texts.Get(p.names[i])); err != nil {
			return err
		}
	}
	return nil
}

// addPicture takes in an element of "images".
func (p *pictures) addPicture(file string, i int, x entry) error {
	p.total++
	name := x.FileName
	if name == "" {
		name = x.Name
	}
	if name == "" {
		return p.refuse(file, "no picture", "images[%d] has neither file_name nor filename", i)
	}
	if x.Folder != "" {
		name = strings.TrimSuffix(x.Folder, "/") + "/" + name
	}
	id := int64(-1 - i) // nothing refers to it
	for _, given := range []*int64{x.ID, x.COCO} {
		if given != nil {
			id = *given
		}
	}
	if _, twice := p.places[id]; twice || p.known[name] {
		return p.refuse(file, "duplicate key", "images[%d], %s: its id or its file came before", i, name)
	}
	if x.Split != "" {
		p.split[x.Split]++
	}
	if !p.has(name, x.Split) {
		p.elsewhere++
		p.places[id] = -1
		return nil
	}
	at := len(p.names)
	p.known[name] = true
	p.places[id] = int32(at)
	p.names, p.said = append(p.names, p.texts.Put(name)), append(p.said, 0)
	for _, s := range x.Sentences {
		p.add(at, s.Raw)
	}
	return nil
}

// has reports whether a picture is in the split.
func (p *pictures) has(name, split string) bool {
	if p.cfg.TestFraction > 0 {
		return sample.Options{Split: p.cfg.Split, TestFraction: p.cfg.TestFraction, SplitSeed: p.cfg.SplitSeed}.Has(name)
	}
	return p.cfg.Split == "all" || split == p.cfg.Split || split == "restval" && p.cfg.Split == "train" && p.cfg.Restval
}

// checkSplit reports a split that the file does not have.
func (p *pictures) checkSplit() error {
	if p.cfg.TestFraction > 0 || p.cfg.Split == "all" || p.split[p.cfg.Split] > 0 {
		return nil
	}
	e := fault.New(fault.Invalid, "no picture of %s is of the split %q", p.cfg.Annotations, p.cfg.Split).WithPath("with.split")
	if len(p.split) == 0 {
		return e.WithHint("the file has no splits: COCO has a file for each; or give test_fraction for a random part")
	}
	return e.WithHint("it has %s", strings.Join(slices.Sorted(maps.Keys(p.split)), ", "))
}

// add adds a caption to a picture.
func (p *pictures) add(at int, caption string) {
	if caption = clean(caption); caption == "" || p.cfg.MaxCaptions > 0 && int(p.said[at]) >= p.cfg.MaxCaptions {
		return
	}
	p.said[at]++
	p.captions.Add(at, caption)
}

// readInstances makes classes of the categories of things in the pictures.
func (p *pictures) readInstances(ctx context.Context, store *object.Store) error {
	file := p.cfg.Instances
	classes := map[int64]int32{} // by category
	var names []string
	largest := map[int32]map[int64]float64{} // by picture: the area of each category
	err := readFile(ctx, store, file, handlers{
		category: func(i int, x category) error {
			if x.Name == "" {
				return p.refuse(file, "corrupt record", "categories[%d] has no name", i)
			}
			names = append(names, x.Name)
			classes[x.ID] = int32(len(names))
			return nil
		},
		annotation: func(i int, x note) error {
			at, ok := p.places[x.Image]
			if !ok || at < 0 {
				return nil
			}
			if largest[at] == nil {
				largest[at] = map[int64]float64{}
			}
			largest[at][x.Category] += x.Area
			return nil
		},
		broken: func(list string, i int, err error) error {
			return p.refuse(file, "corrupt record", "%s[%d]: %w", list, i, err)
		},
	})
	if e, ok := err.(*fault.Error); ok && e.Path == "" {
		e.Path = "with.instances"
	}
	if err != nil {
		return err
	}
	p.label = make([]int32, len(p.names))
	for at, areas := range largest {
		ids := slices.Sorted(maps.Keys(areas))
		best := ids[0]
		for _, id := range ids {
			if areas[id] > areas[best] {
				best = id
			}
		}
		if p.cfg.Label == "largest" || len(ids) == 1 {
			p.label[at] = classes[best]
		}
	}
	if len(names) == 0 {
		return fault.New(fault.Invalid, "%s has no categories", file).WithPath("with.instances").
			WithHint("name a file such as instances_val2017.json; that of the captions has none")
	}
	p.set.Targets = []clip.Target{{Name: "label", Classes: names}}
	p.set.Remarks = append(p.set.Remarks, sample.Alike(names)...)
	without := 0
	for _, i := range p.kept {
		if p.label[i] == 0 {
			without++
		}
	}
	if without > 0 {
		p.set.Remarks = append(p.set.Remarks, fmt.Sprintf("%d of %d pictures have no class in %s", without, len(p.kept), file))
	}
	return nil
}

// nothing reports that no picture is left.
func (p *pictures) nothing() error {
	e := fault.New(fault.NotFound, "no samples in %s: %d pictures, %d of other splits", p.cfg.Annotations, p.total, p.elsewhere).WithPath("with.annotations")
	if skips := p.set.Skips(); len(skips) > 0 {
		return e.WithHint("%d records are refused, the first: %s", clip.CountSkips(skips), skips[0].First)
	}
	if p.elsewhere > 0 {
		return e.WithHint("with test_fraction 0 or 1 one of train and test is empty; a small set needs a larger share")
	}
	return e.WithHint("want images and annotations with captions, or images with sentences")
}

// name returns the file of sample i.
func (p *pictures) name(i int) string { return p.texts.Get(p.names[p.kept[i]]) }

// Len implements sample.List.
func (p *pictures) Len() int { return len(p.kept) }

// At implements sample.List.
func (p *pictures) At(i int) sample.Sample {
	at := p.kept[i]
	x := sample.Sample{Key: sample.Key(p.name(i)), Group: int64(i), Captions: p.captions.List(int(at))}
	if p.label != nil {
		x.Labels = []int32{p.label[at] - 1}
	}
	return x
}
