package run

import (
	"context"
	"encoding/json"
	"slices"

	"tandem/core/clip"
	"tandem/core/experiment/spec"
	"tandem/core/plugin/process"
)

// source is a dataset of a run with what it is configured with.
type source struct {
	role    string
	section string // of the spec
	ref     string
	cfg     clip.DatasetConfig // without ImageSize before it is configured
	data    clip.Dataset       // nil before its process started
	process *process.Process
	info    clip.DatasetInfo
	kept    bool // taken over from the run before, configured
}

// sources are the training data and the data of each evaluation.
func sources(s *spec.Spec, limits map[string]int) []source {
	cache := cacheDir()
	all := []source{{role: roleData, section: roleData, ref: s.Data.Train.Dataset, cfg: clip.DatasetConfig{
		With: s.Data.Train.With, Seed: s.Seed, Augment: s.Data.Train.Augment, Threads: limits[roleData], CacheDir: cache}}}
	for i, e := range s.Eval {
		role := roleEval + e.Name
		all = append(all, source{role: role, section: evalSection(i), ref: e.Dataset, cfg: clip.DatasetConfig{
			With: e.With, Seed: s.Seed, Threads: limits[role], CacheDir: cache}})
	}
	return all
}

// same tells whether x, configured for pictures of a size, would be o.
func (x source) same(o source, size int) bool {
	x.cfg.ImageSize = size
	a, errA := json.Marshal(x.cfg)
	b, errB := json.Marshal(o.cfg)
	return x.ref == o.ref && errA == nil && errB == nil && string(a) == string(b)
}

func (x *source) start(ctx context.Context, s *process.Session, o process.StartOptions) (err error) {
	x.data, x.process, err = s.StartDataset(ctx, x.ref, o)
	return err
}

// configure configures x for pictures of a size. One that was kept for another size is left, and a new process
// started.
func (x *source) configure(ctx context.Context, s *process.Session, o process.StartOptions, size int) (err error) {
	if x.kept {
		if x.cfg.ImageSize == size {
			return nil
		}
		x.kept = false
		x.process.Stop()
		if err := x.start(ctx, s, o); err != nil {
			return err
		}
	}
	x.cfg.ImageSize = size
	x.info, err = x.data.Configure(ctx, x.cfg)
	return err
}

// workbench is where the trials of a sweep run one after another: the shared memory of their plugins, and the
// datasets of the last one, which the next takes over where it asks for the same.
type workbench struct {
	session *process.Session
	kept    []source
}

// take gives x the process of a kept source that is the same but for the size of the pictures. sha256 is the digest of
// the plugin that x is to have; "" for any.
func (b *workbench) take(x *source, sha256 string) {
	if b == nil {
		return
	}
	for i, k := range b.kept {
		if x.same(k, k.cfg.ImageSize) && (sha256 == "" || sha256 == k.process.Binary.SHA256) {
			x.cfg, x.data, x.process, x.info, x.kept = k.cfg, k.data, k.process, k.info, true
			b.kept = slices.Delete(b.kept, i, i+1)
			return
		}
	}
}

// clear ends what is kept.
func (b *workbench) clear() {
	for _, k := range b.kept {
		k.process.Stop()
	}
	b.kept = nil
}

// Close ends everything.
func (b *workbench) Close() {
	if b.session != nil {
		_ = b.session.Close()
	}
	*b = workbench{}
}
