package assemble

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"

	"tandem/core/clip"
	"tandem/core/experiment/spec"
	"tandem/core/fault"
	"tandem/core/plugin/process"
)

// Dataset holds a dataset plugin and what it is configured with.
type Dataset struct {
	clip.Dataset                  // nil before its process started
	Info         clip.DatasetInfo // with the class names of the spec
	Process      *process.Process

	role    string
	section string // of the spec
	entry   int    // the evaluation that it belongs to; -1: to the training of the towers
	learned bool   // the evaluation's measures learn from it
	ref     string
	names   *spec.ZeroShot     // names the classes anew; nil: the dataset names them
	config  clip.DatasetConfig // ImageSize is 0 before it is configured
	guard   spec.Guard
	own     clip.DatasetInfo // as the plugin gave it
	kept    bool             // taken over from the run before, configured
}

// datasets lists the sources of the training data and then the data of each evaluation, none of them started.
func datasets(s *spec.Spec, threads map[string]int) []Dataset {
	cache := dataCacheDir()
	var all []Dataset
	for i, role := range DataRoles(s) {
		t := s.Data.Train[i]
		d := Dataset{role: role, entry: -1, guard: s.Plugins, section: s.TrainSection(i), ref: t.Dataset, config: clip.DatasetConfig{
			With: t.With, Seed: s.Seed, Augment: t.Augment, Threads: threads[role], CacheDir: cache}}
		if k := s.Data.Cache; k != nil {
			d.config.Cache = &clip.PictureCache{Format: k.Format, MaxBytes: k.Max.Bytes}
		}
		all = append(all, d)
	}
	for i, e := range s.Eval {
		role := RoleEval + e.Name
		all = append(all, Dataset{role: role, entry: i, guard: s.Plugins, section: EvalSection(i), ref: e.Dataset, names: e.ZeroShot, config: clip.DatasetConfig{
			With: e.With, Seed: s.Seed, Threads: threads[role], CacheDir: cache}})
	}
	for i, e := range s.Eval {
		if t, role := e.Train, RoleEvalTrain+e.Name; t != nil {
			all = append(all, Dataset{role: role, entry: i, learned: true, guard: s.Plugins, section: EvalSection(i) + ".train", ref: t.Dataset,
				names: e.ZeroShot, config: clip.DatasetConfig{With: t.With, Seed: s.Seed, Threads: threads[role], CacheDir: cache}})
		}
	}
	return all
}

// key tells what the samples of a configured dataset are. Class names do not count.
func (d Dataset) key() string {
	d.config.Threads = 0
	config, err := json.Marshal(d.config)
	if err != nil {
		return "" // like no other
	}
	return d.Process.Binary.SHA256 + "\n" + string(config)
}

// sameAs reports whether d, configured for pictures of a size, would be o.
func (d Dataset) sameAs(o Dataset, size int) bool {
	d.config.ImageSize = size
	a, errA := json.Marshal(d.config)
	b, errB := json.Marshal(o.config)
	return d.ref == o.ref && reflect.DeepEqual(d.guard, o.guard) && errA == nil && errB == nil && string(a) == string(b)
}

func (d *Dataset) start(ctx context.Context, x *Starter) (err error) {
	o := x.options(d.role, d.config.With)
	if o.Guard.Strict && d.config.CacheDir != "" && os.MkdirAll(d.config.CacheDir, 0o755) == nil {
		o.Write = []string{d.config.CacheDir}
	}
	d.Dataset, d.Process, err = x.session.StartDataset(ctx, d.ref, o)
	return err
}

// configure configures d for pictures of a size. It leaves a process that was kept for another size, and starts
// a new one.
func (d *Dataset) configure(ctx context.Context, x *Starter, size int) error {
	if d.kept && d.config.ImageSize != size {
		d.kept = false
		d.Process.Stop()
		if err := d.start(ctx, x); err != nil {
			return err
		}
	}
	if !d.kept {
		var err error
		d.config.ImageSize = size
		if d.own, err = d.Dataset.Configure(ctx, d.config); err != nil {
			return Place(x.Spec, err, d.section)
		}
	}
	var err error
	d.Info, err = renameClasses(d.own, d.names, d.section)
	return err
}

// renameClasses returns a dataset's description with the class names of a spec's zero-shot evaluation. As many
// names as classes are needed; otherwise the fault is fault.Invalid.
func renameClasses(info clip.DatasetInfo, z *spec.ZeroShot, section string) (clip.DatasetInfo, error) {
	if z == nil || z.ClassNames == nil {
		return info, nil
	}
	targets := append([]clip.Target(nil), info.Targets...)
	for i, t := range targets {
		if t.Name != z.Classes {
			continue
		}
		if len(t.Classes) != len(z.ClassNames) {
			return info, fault.New(fault.Invalid, "%d names for the %d classes of %s", len(z.ClassNames), len(t.Classes), t.Name).
				WithPath(section+".zero_shot.class_names").WithHint("one for each class, in the order of their ids: %s", FirstFew(t.Classes))
		}
		targets[i].Classes = z.ClassNames
	}
	info.Targets = targets
	return info, nil
}

// Workbench lets the trials of a sweep run one after another: it keeps the shared memory of their plugins, and
// the datasets of the last trial, which the next one takes over where it asks for the same. The zero value is
// ready to use, by one trial at a time.
type Workbench struct {
	session *process.Session
	kept    []Dataset
}

// handOver gives d the process of a kept dataset that is the same but for the size of the pictures. sha256 is
// the digest of the plugin that d is to have; "" for any.
func (b *Workbench) handOver(d *Dataset, sha256 string) {
	if b == nil {
		return
	}
	for i, k := range b.kept {
		if d.sameAs(k, k.config.ImageSize) && (sha256 == "" || sha256 == k.Process.Binary.SHA256) {
			d.config, d.Dataset, d.Process, d.own, d.kept = k.config, k.Dataset, k.Process, k.own, true
			b.kept = slices.Delete(b.kept, i, i+1)
			return
		}
	}
}

// keep leaves datasets for the next trial, and ends those that the last one left.
func (b *Workbench) keep(data []Dataset) {
	for _, k := range b.kept {
		k.Process.Stop()
	}
	b.kept = data
}

// Close ends everything. The workbench can be used again.
func (b *Workbench) Close() {
	if b.session != nil {
		_ = b.session.Close() // what it holds goes with it
	}
	*b = Workbench{}
}

// SameNames tells which names of classes are equal to a text encoder, which knows neither capitals nor how many
// spaces there are; "" when none are.
func SameNames(names []string) string {
	first := map[string]int{}
	var twins []string
	for i, name := range names {
		key := strings.ToLower(strings.Join(strings.Fields(name), " "))
		j, known := first[key]
		if !known {
			first[key] = i
			continue
		}
		twins = append(twins, fmt.Sprintf("%q (%d and %d)", name, j, i))
	}
	if twins == nil {
		return ""
	}
	return "classes have the same name, and no picture is ever taken for the second of them: " + FirstFew(twins)
}

// FirstFew joins the first of a list and says how many more there are.
func FirstFew(list []string) string {
	const most = 5
	text := strings.Join(list[:min(most, len(list))], ", ")
	if n := len(list) - most; n > 0 {
		text += fmt.Sprintf(" and %d more", n)
	}
	return text
}
