package run

import (
	"context"
	"image"
	"path/filepath"

	"tandem/core/clip"
	"tandem/core/experiment/spec"
	"tandem/core/fault"
	"tandem/core/files"
	"tandem/core/plugin/process"
	"tandem/core/results/store"
)

// Album is what the examples of an evaluation look like and what its classes are called.
type Album struct {
	Plugin   string        // datasets/emoji
	Classes  []string      // texts, by class id
	Pictures []image.Image // of the examples asked for; nil where the dataset has another example there now
	Captions [][]string    // beside Pictures
}

// Album opens the dataset of a run's evaluation, and takes side × side pictures of the examples at
// indices, whose keys are the stored predictions'. No encoder is started. Without indices it gives the classes
// alone. fault.NotFound when the run has no such evaluation or the dataset no such target, and whatever starting or configuring
// the plugin yields when it or its data are gone.
//
// Which plugin is started, and which files it reads, is what the spec in the run's folder says; with trusted, what the
// database says.
func (l Lab) Album(ctx context.Context, run *store.RunDetail, trusted bool, evaluation, target string, side int, indices []int, keys []string) (*Album, error) {
	read := l.own
	if trusted {
		read = l.stored
	}
	s, err := read(run)
	if err != nil {
		return nil, err
	}
	at := -1
	for i, e := range s.Eval {
		if e.Name == evaluation {
			at = i
		}
	}
	if at < 0 {
		return nil, fault.New(fault.NotFound, "run %s has no evaluation %q", run.ID, evaluation)
	}
	session, err := process.NewSession(process.SessionOptions{Catalog: l.Catalog})
	if err != nil {
		return nil, err
	}
	defer session.Close()
	data, plugin, err := openEvaluation(ctx, session, s, at, side)
	if err != nil {
		return nil, err
	}
	a := &Album{Plugin: plugin.Name(), Pictures: make([]image.Image, len(indices)), Captions: make([][]string, len(indices))}
	found := false
	for _, t := range data.info.Targets {
		if t.Name == target {
			a.Classes, found = t.Classes, true
		}
	}
	if !found {
		return nil, fault.New(fault.NotFound, "%s has no target %q any more", a.Plugin, target)
	}
	return a, data.pictures(ctx, a, side, indices, keys)
}

// own is the spec of a run as it lies in the run's folder: what that names is one's own, while a database may come from
// anywhere. fault.Unavailable when the run was not made here.
func (l Lab) own(run *store.RunDetail) (*spec.Spec, error) {
	path := filepath.Join(l.Dir(run.ID), specFile)
	text, err := files.Read(path, specLimit)
	if l.Dir(run.ID) == "" || err != nil {
		return nil, fault.New(fault.Unavailable, "run %s was not made here: its spec is not in --runs-dir %s", run.ID, l.RunsDir).
			WithHint("--thumbnails takes pictures from the datasets that the database names")
	}
	return spec.Parse(path, text, spec.Options{Catalog: newCatalog(l.Catalog), Begun: true})
}

const (
	specFile  = "spec.yaml" // in a run's folder
	specLimit = 16 << 20
)

// evaluated is the dataset of an evaluation, configured.
type evaluated struct {
	clip.Dataset
	info clip.DatasetInfo
}

func openEvaluation(ctx context.Context, session *process.Session, s *spec.Spec, at, side int) (evaluated, *process.Process, error) {
	e, limits := s.Eval[at], threads(s)
	d, p, err := session.StartDataset(ctx, e.Dataset, process.StartOptions{Label: roleEval + e.Name, Threads: limits[roleEval+e.Name]})
	if err != nil {
		return evaluated{}, nil, err
	}
	info, err := d.Configure(ctx, clip.DatasetConfig{With: e.With, ImageSize: side, Seed: s.Seed, Threads: limits[roleEval+e.Name], CacheDir: cacheDir()})
	if err == nil {
		info, err = named(info, e.ZeroShot, evalSection(at))
	}
	return evaluated{d, info}, p, place(s, err, evalSection(at))
}

func (d evaluated) pictures(ctx context.Context, a *Album, side int, indices []int, keys []string) error {
	var ask, place []int
	for i, index := range indices {
		if index < d.info.Len {
			ask, place = append(ask, index), append(place, i)
		}
	}
	if len(ask) == 0 {
		return nil
	}
	b, err := d.Batch(ctx, clip.BatchRequest{Indices: ask})
	if err != nil {
		return err
	}
	defer b.Images.Free()
	unreadable := map[int]bool{} // another sample stands in its place
	for _, f := range b.Faults {
		unreadable[f.Index] = true
	}
	for j, i := range place {
		if b.Keys[j] != keys[i] || unreadable[ask[j]] {
			continue
		}
		picture := image.NewRGBA(image.Rect(0, 0, side, side))
		from := b.Images.Data[j*3*side*side:]
		for p := range side * side {
			copy(picture.Pix[4*p:], from[3*p:3*p+3])
			picture.Pix[4*p+3] = 0xff
		}
		a.Pictures[i] = picture
		if j < len(b.All) {
			a.Captions[i] = b.All[j]
		}
	}
	return nil
}
